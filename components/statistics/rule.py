"""The decision rule: confidence, margin and the least number of seeds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """The conditions that a verdict must meet."""

    confidence: float  # of every interval, such as 0.95
    margin: float  # balanced accuracy; differences inside it do not matter in practice
    min_seeds: int  # fewer decide nothing

    @property
    def alpha(self) -> float:
        """The highest adjusted p-value that decides."""
        return round(1 - self.confidence, 12)
