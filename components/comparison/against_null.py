"""Every arm against what it should exceed: the null model, and the study's baselines.

The null model gives each image the class frequencies of train and has learned nothing. A baseline is an arm whose
pretraining method says that it is one: hand-made features, or a network without pretraining.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.report.wording import points_with_interval
from components.statistics.intervals import Interval
from components.statistics.null_model import is_below

NULL_MODEL = "class frequencies alone"
"""What pages call the null model."""

RESTORED = "log_loss_restored"
"""Log loss of the probabilities with the class frequencies of train restored: balanced training shifts them."""

COMPARED = {
    "balanced_accuracy": "balanced accuracy",
    "macro_auroc": "macro AUROC",
    "accuracy": "accuracy",
    RESTORED: "log loss",
}
"""Metrics with a null line, in words."""

LINE_OF = {RESTORED: "log_loss"}
"""The null line of a metric that has another name."""


@dataclass(frozen=True)
class BaselineDifference:
    """An arm minus a baseline, test balanced accuracy: the same seeds and lesions on both sides, not corrected."""

    baseline: str
    """The arm that is the baseline."""
    difference: Interval

    @property
    def surely_above(self) -> bool:
        """Whether the whole interval is above zero."""
        return self.difference.low > 0

    @property
    def surely_below(self) -> bool:
        """Whether the whole interval is below zero."""
        return self.difference.high < 0

    def describe(self, confidence: float) -> str:
        """`is below the baseline colour: −2.6 points (95 % interval −6.0 to +0.8)`; empty where it is surely above."""
        if self.surely_above:
            return ""
        standing = "is below" if self.difference.mean < 0 else "is not surely above"
        return f"{standing} the baseline {self.baseline}: {points_with_interval(self.difference, confidence)}"


@dataclass(frozen=True)
class AgainstNull:
    """One arm under one protocol against the null lines and the baselines."""

    learned: bool
    """Whether the interval of balanced accuracy is above chance; otherwise a small gap gets no credit."""
    below: tuple[str, ...]
    """Metrics, in words, whose mean is worse than the null line."""
    baselines: tuple[BaselineDifference, ...] = ()
    """Of every baseline of the study; empty for an arm that is one."""

    def about(self, arm: str, other: str, confidence: float) -> str:
        """What the first sentence of a verdict says of the arm; empty where it is above null lines and baselines.

        Args:
            arm: its name.
            other: the arm that the verdict compares it with; the verdict itself says which of them is better.
            confidence: of the intervals.
        """
        return "; ".join(filter(None, (self.about_null(arm), self.about_baselines(arm, confidence, other))))

    def about_baselines(self, arm: str, confidence: float, other: str = "") -> str:
        """The same of the baselines alone."""
        found = [each.describe(confidence) for each in self.baselines if each.baseline != other]
        return "; ".join(f"{arm} {words}" for words in found if words)

    def about_null(self, arm: str) -> str:
        """The same of the null lines alone."""
        parts = [] if self.learned else ["is not shown to be above chance in balanced accuracy"]
        parts += [f"is below {NULL_MODEL} in {' and '.join(self.below)}"] if self.below else []
        return f"{arm} {' and '.join(parts)}" if parts else ""


def null_line(metric: str, lines: Mapping[str, float]) -> float:
    """The null line of one of COMPARED."""
    return lines[LINE_OF.get(metric, metric)]


def against_null(
    test: Mapping[str, Interval], lines: Mapping[str, float], baselines: Sequence[BaselineDifference] = ()
) -> AgainstNull:
    """An arm's test metrics (over seeds and lesions) against the null lines of the same images.

    Args:
        test: of COMPARED.
        lines: of `null_model.null_lines`.
        baselines: the arm minus each baseline.
    """
    below = [
        words
        for name, words in COMPARED.items()
        if is_below(LINE_OF.get(name, name), test[name].mean, null_line(name, lines))
    ]
    return AgainstNull(test["balanced_accuracy"].low > lines["balanced_accuracy"], tuple(below), tuple(baselines))
