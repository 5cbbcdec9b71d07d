"""Results as JSON has them: six decimals, null for what is not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

import numpy as np


def as_plain(value: Any) -> Any:
    """Dataclasses, mappings, sequences and numbers as what `json.dumps(..., allow_nan=False)` takes."""
    if is_dataclass(value) and not isinstance(value, type):
        return as_plain(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [as_plain(item) for item in value]
    if isinstance(value, (float, np.floating)):
        return round(float(value), 6) + 0.0 if np.isfinite(value) else None  # + 0.0: no minus zero
    return value
