"""The decision rule: confidence, margin, the least number of seeds, and the look at which the study is judged."""

from __future__ import annotations

from dataclasses import dataclass, replace

from components.statistics.looks import Look, find_look


@dataclass(frozen=True)
class Rule:
    """The conditions that a verdict must meet."""

    confidence: float  # of every interval, such as 0.95; at a planned look 1 minus its level
    margin: float  # balanced accuracy; differences inside it do not matter in practice
    min_seeds: int  # fewer decide nothing
    look: Look | None = None  # where several looks are planned

    @property
    def alpha(self) -> float:
        """The highest adjusted p-value that decides."""
        return round(1 - self.confidence, 12)

    def at(self, seeds: int) -> Rule:
        """The rule of the look with that many seeds; the same rule without looks."""
        if self.look is None:
            return self
        look = find_look(self.look.planned, seeds, self.look.overall)
        return replace(self, confidence=round(1 - look.alpha, 12), look=look)
