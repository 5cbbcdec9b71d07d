"""Results as data that JSON can hold: equal numbers give equal text.

Numbers are kept in full, since others decide by them: a threshold rounded to six decimals can lie above the score of
the image that set it. Pages round what they show.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Mappings, lists and tuples of numbers and texts, ready for `json.dumps`.

    Floats keep their value, NaN and infinity become None, -0.0 becomes 0.0, keys become text.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) + 0.0 if math.isfinite(value) else None  # + 0.0: no minus zero
    return value
