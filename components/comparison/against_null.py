"""Every arm against what it should exceed: the null model and the study's baselines; and its alarms.

The null model gives each image the class frequencies of train and has learned nothing. A baseline is an arm whose
pretraining method says that it is one: hand-made features, or a network without pretraining.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.report.wording import points_with_interval
from components.statistics.intervals import Interval, read_interval
from components.statistics.null_model import is_below

NOT_LEARNED = "is not shown to be above chance in balanced accuracy"

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
        """`is below the baseline colour: −2.6 points (95 % interval −6.0 to +0.8)`; empty if significantly above."""
        if self.surely_above:
            return ""
        standing = "is below" if self.difference.mean < 0 else "is not significantly above"
        return f"{standing} the baseline {self.baseline}: {points_with_interval(self.difference, confidence)}"


@dataclass(frozen=True)
class AgainstNull:
    """One arm under one protocol against the null lines and the baselines."""

    learned: bool
    """Whether the interval of balanced accuracy is above chance."""
    below: tuple[str, ...]
    """Metrics, in words, whose mean is worse than the null line."""
    baselines: tuple[BaselineDifference, ...] = ()
    """Of every baseline of the study; empty for an arm that is one."""
    alarms: tuple[str, ...] = ()
    """What the arm's pretraining found wrong with itself, such as `posterior collapse`."""

    @property
    def gets_credit(self) -> bool:
        """Whether a small gap counts for the arm: it is above chance, below no baseline, its pretraining has no alarm.

        A model that learned little has little to overfit.
        """
        return self.learned and not self.alarms and all(each.difference.mean >= 0 for each in self.baselines)

    def why_no_credit(self, arm: str, confidence: float) -> str:
        """What keeps a small gap from counting for the arm; empty exactly where `gets_credit` is true."""
        above = [each for each in self.baselines if each.difference.mean < 0]
        parts = ["" if self.learned else f"{arm} {NOT_LEARNED}", self.about_alarms(arm)]
        parts += [f"{arm} {each.describe(confidence)}" for each in above]
        return "; ".join(filter(None, parts))

    def about(self, arm: str, other: str, confidence: float) -> str:
        """What the first sentence of a verdict says of the arm; empty where nothing speaks against it.

        Args:
            arm: its name.
            other: the arm that the verdict compares it with; the verdict itself says which of them is better.
            confidence: of the intervals.
        """
        parts = (self.about_null(arm), self.about_alarms(arm), self.about_baselines(arm, confidence, other))
        return "; ".join(filter(None, parts))

    def about_alarms(self, arm: str) -> str:
        """The same of the pretraining's alarms alone."""
        return f"the pretraining of {arm} has alarms: {', '.join(self.alarms)}" if self.alarms else ""

    def about_baselines(self, arm: str, confidence: float, other: str = "") -> str:
        """The same of the baselines alone."""
        found = [each.describe(confidence) for each in self.baselines if each.baseline != other]
        return "; ".join(f"{arm} {words}" for words in found if words)

    def about_null(self, arm: str) -> str:
        """The same of the null lines alone."""
        parts = [] if self.learned else [NOT_LEARNED]
        parts += [f"is below {NULL_MODEL} in {' and '.join(self.below)}"] if self.below else []
        return f"{arm} {' and '.join(parts)}" if parts else ""


def read_against_null(found: Mapping[str, Any]) -> AgainstNull:
    """From the comparison's JSON record."""
    baselines = [BaselineDifference(each["baseline"], read_interval(each["difference"])) for each in found["baselines"]]
    return AgainstNull(found["learned"], tuple(found["below"]), tuple(baselines), tuple(found["alarms"]))


def null_line(metric: str, lines: Mapping[str, float]) -> float:
    """The null line of one of COMPARED."""
    return lines[LINE_OF.get(metric, metric)]


def against_null(
    test: Mapping[str, Interval],
    lines: Mapping[str, float],
    baselines: Sequence[BaselineDifference] = (),
    alarms: Sequence[str] = (),
) -> AgainstNull:
    """An arm's test metrics (over seeds and lesions) against the null lines of the same images.

    Args:
        test: of COMPARED.
        lines: of `null_model.null_lines`.
        baselines: the arm minus each baseline.
        alarms: of its pretraining.
    """
    below = [
        words
        for name, words in COMPARED.items()
        if is_below(LINE_OF.get(name, name), test[name].mean, null_line(name, lines))
    ]
    learned = test["balanced_accuracy"].low > lines["balanced_accuracy"]
    return AgainstNull(learned, tuple(below), tuple(baselines), tuple(alarms))
