"""One metric a file, each a pure function of labels and class probabilities, named as its file.

Signature: `name(labels: (N,) int, probabilities: (N, K) float) -> float` (or an array or mapping where the
docstring says so). `components.statistics.metrics.all_scalars` is for callers that want every scalar metric.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from typing import Any, get_type_hints

import numpy as np

Labels = np.ndarray[Any, np.dtype[np.int64]]
"""(N,) index of each image's class."""

Probabilities = np.ndarray[Any, np.dtype[np.float64]]
"""(N, K) rows that sum to 1; the highest is the prediction, of equal ones the first."""


@cache
def metrics() -> dict[str, Callable[..., Any]]:
    """Every metric by name: the modules of this package and the function named as each."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return {name: getattr(importlib.import_module(f"{__name__}.{name}"), name) for name in names}


def all_scalars(labels: Labels, probabilities: Probabilities) -> dict[str, float]:
    """Every metric that is one number, by name, at its defaults."""
    scalars = {name: f for name, f in metrics().items() if get_type_hints(f)["return"] is float}
    return {name: function(labels, probabilities) for name, function in scalars.items()}
