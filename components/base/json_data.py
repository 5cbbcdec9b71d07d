"""Results as data that JSON can hold: equal numbers give equal text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def plain(value: Any) -> Any:
    """Mappings, lists and tuples of numbers and texts, ready for `json.dumps`.

    Floats are rounded to six decimals, NaN and infinity become None, -0.0 becomes 0.0, keys become text.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) + 0.0 if math.isfinite(value) else None  # + 0.0: no minus zero
    return value
