"""The seven claims of the paper (arXiv 2505.16773), and the rule that gives each of them one word.

A claim is tested by differences, arm minus reference, paired by seed. The rule was fixed before the numbers were seen:
the 95 % interval must exclude zero, and the p-value must be small enough after Holm's correction over all differences
that are tested for the paper's arms. The side that gains must have learned something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from components.report.formatting import MINUS
from components.statistics.intervals import Interval
from components.statistics.rule import Rule


class Word(StrEnum):
    """What the study says of a claim."""

    CONFIRMED = "confirmed"
    CONTRADICTED = "contradicted"
    NOT_DECIDED = "not decided"
    NOT_TESTED = "not tested"


@dataclass(frozen=True)
class PaperClaim:
    """One claim about the VAE's encoder against the ImageNet encoder."""

    key: str
    title: str
    """A noun phrase, which completes `confirmed:`."""
    paper: str
    """The paper's numbers, VAE against ImageNet; or that none is known."""
    measured: str
    """How this project measures it, and which sign confirms it."""


NO_NUMBER = "no number known"

CLAIMS = (
    PaperClaim(
        "convergence",
        "faster convergence",
        NO_NUMBER,
        "Epochs until val balanced accuracy first reaches 90 % of the run's own improvement over chance, where every "
        "run starts at epoch 0; a straight line between epochs. Fewer confirm. It measures time alone: a run can "
        "converge early at a low value.",
    ),
    PaperClaim(
        "gap",
        "smaller overfitting gap",
        "near zero against +0.060; which gap is not stated",
        "Val loss minus train loss, the gap that verdicts use, as on the main page. Smaller confirms.",
    ),
    PaperClaim(
        "fall",
        "larger relative fall of val loss",
        f"{MINUS}33.33 % against {MINUS}16.67 %",
        "Change of val loss from the first epoch to the last that all runs of the protocol have, as a share of the "
        "first. A larger fall confirms. What falls within the first epoch is not seen.",
    ),
    PaperClaim(
        "steadiness",
        "steadier rise of val accuracy",
        "rises with train (45 → 65 %) against a plateau at 75 %",
        "Falls of val accuracy by its falls and rises together, over the epochs that all runs of the protocol have. "
        "A smaller share of falls confirms.",
    ),
    PaperClaim(
        "shortcuts",
        "less use of non-clinical features",
        NO_NUMBER,
        "The share of balanced accuracy above chance that is kept on test images with the lesion masked. Less "
        "confirms. What is kept can also be legitimate context, such as sun-damaged skin.",
    ),
    PaperClaim(
        "adaptability",
        "better adaptability",
        NO_NUMBER,
        "On each external test set, the change of balanced accuracy from the internal test: a smaller loss confirms. "
        "Over labels, the share of the train lesions with which the arm reaches what the reference reaches with all: "
        "less than all confirms. All measures that were made must agree.",
    ),
    PaperClaim(
        "latent",
        "structured, clinically relevant latent space",
        NO_NUMBER,
        "Balanced accuracy on val of a logistic regression on the encoder's averaged maps, before any fine-tuning: how "
        "far hyperplanes separate the diagnoses in the features. Higher confirms. Whether directions of the latent "
        "space have a meaning, or images between two others are plausible, is not measured.",
    ),
)
"""In the order of the page. The numbers are those of the paper's table."""


@dataclass(frozen=True)
class Measurement:
    """One number by which a claim is tested."""

    claim: str
    """Key of the claim."""
    name: str
    """What was measured, in a few words with its unit."""
    form: str
    """How the page writes it: a key of `page.FORMS`."""
    arm: float
    """Mean over seeds."""
    reference: float
    difference: Interval
    """Arm minus reference, paired; an infinite end is beyond what was tried, NaN is not known."""
    p: float
    """Of no difference, not corrected."""
    claimed: int
    """The sign of the difference that the claim asserts: -1 or 1."""
    seeds: int


@dataclass(frozen=True)
class Standing:
    """What keeps arm or reference from credit; empty where nothing does."""

    arm: str = ""
    """Why nothing counts for the arm."""
    reference: str = ""
    """Why nothing counts for the reference."""


@dataclass(frozen=True)
class Judgement:
    """A word and why."""

    word: Word
    reason: str = ""
    """Empty where the word follows from the interval alone."""


UNKNOWN = "not known for every seed: a run is not above chance, or its curve does not move"
AFTER_CORRECTION = "the interval excludes zero, the p-value after Holm's correction does not decide"


def judge(found: Measurement, p: float, standing: Standing, rule: Rule) -> Judgement:
    """The word for one difference.

    Args:
        found: the difference.
        p: of no difference, after correction.
        standing: whether arm and reference get credit.
        rule: least number of seeds, and alpha.
    """
    if found.seeds < rule.min_seeds:
        return Judgement(
            Word.NOT_DECIDED,
            f"{found.seeds} seed{'s' * (found.seeds != 1)}, compare.min_seeds requires {rule.min_seeds}",
        )
    if np.isnan([found.difference.mean, found.difference.low, found.difference.high]).any():
        return Judgement(Word.NOT_DECIDED, UNKNOWN)
    side = int(found.difference.low > 0) - int(found.difference.high < 0)
    if not side:
        return Judgement(Word.NOT_DECIDED, "the interval includes zero")
    if not p <= rule.alpha:
        return Judgement(Word.NOT_DECIDED, AFTER_CORRECTION)
    blocked = standing.arm if side == found.claimed else standing.reference
    if blocked:
        return Judgement(Word.NOT_DECIDED, f"no credit: {blocked}")
    return Judgement(Word.CONFIRMED if side == found.claimed else Word.CONTRADICTED)


def combine(judgements: Sequence[Judgement], untested: str) -> Judgement:
    """The word of a claim from those of its measurements: all must agree.

    Args:
        judgements: of each measurement that was made.
        untested: why there is none, for a claim without any.
    """
    if not judgements:
        return Judgement(Word.NOT_TESTED, untested)
    words = {each.word for each in judgements}
    if len(words) == 1:
        return Judgement(
            judgements[0].word, "; ".join(dict.fromkeys(each.reason for each in judgements if each.reason))
        )
    return Judgement(Word.NOT_DECIDED, "its measures do not agree")
