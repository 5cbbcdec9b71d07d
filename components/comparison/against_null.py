"""Every arm against the null model, which gives each image the class frequencies of train and has learned nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
class AgainstNull:
    """One arm under one protocol against the null lines."""

    learned: bool
    """Whether the interval of balanced accuracy is above chance; otherwise a small gap gets no credit."""
    below: tuple[str, ...]
    """Metrics, in words, whose mean is worse than the null line."""

    def about(self, arm: str) -> str:
        """What the first sentence of a verdict says of the arm; empty where it is above all null lines."""
        parts = [] if self.learned else ["is not shown to be above chance in balanced accuracy"]
        parts += [f"is below {NULL_MODEL} in {' and '.join(self.below)}"] if self.below else []
        return f"{arm} {' and '.join(parts)}" if parts else ""


def null_line(metric: str, lines: Mapping[str, float]) -> float:
    """The null line of one of COMPARED."""
    return lines[LINE_OF.get(metric, metric)]


def against_null(test: Mapping[str, Interval], lines: Mapping[str, float]) -> AgainstNull:
    """An arm's test metrics (over seeds and lesions) against the null lines of the same images.

    Args:
        test: of COMPARED.
        lines: of `null_model.null_lines`.
    """
    below = [
        words
        for name, words in COMPARED.items()
        if is_below(LINE_OF.get(name, name), test[name].mean, null_line(name, lines))
    ]
    return AgainstNull(test["balanced_accuracy"].low > lines["balanced_accuracy"], tuple(below))
