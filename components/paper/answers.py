"""The paper's seven claims answered from the study's records: each arm under each protocol, claim by claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.base.run_id import FinetuneProtocol, model_name
from components.paper.claims import CLAIMS, Judgement, Measurement, PaperClaim, Word, combine, judge
from components.paper.evidence import PaperRecords, measure
from components.statistics.significance import holm, smallest_adjusted_p

OURS, THEIRS = "vae", "imagenet"
"""Kinds of pretraining that the paper compares: its own, and the reference."""

STARTED = " from published weights"
"""Added to the kind of an arm that starts from them."""

UNTESTED = {
    "shortcuts": "the lesion was found in too few lesions of two classes",
    "adaptability": "no external test set (external) and no curve over labels (label_efficiency.protocols)",
}
"""Why a claim has no measurement; each other claim always has one."""


@dataclass(frozen=True)
class Tested:
    """One measurement with its corrected p-value and its word."""

    measurement: Measurement
    holm: float
    judgement: Judgement


@dataclass(frozen=True)
class Answer:
    """One claim of one model."""

    claim: PaperClaim
    tests: tuple[Tested, ...]
    judgement: Judgement


@dataclass(frozen=True)
class ModelAnswers:
    """All claims of one arm under one protocol."""

    arm: str
    protocol: FinetuneProtocol
    answers: tuple[Answer, ...]

    @property
    def name(self) -> str:
        """`ARM-PROTOCOL`."""
        return model_name(self.arm, self.protocol)

    def titles(self, word: Word) -> list[str]:
        """The claims that have a word."""
        return [each.claim.title for each in self.answers if each.judgement.word is word]


@dataclass(frozen=True)
class PaperAnswers:
    """The page as data."""

    reference: str
    paper: tuple[ModelAnswers, ...]
    """Arms of the paper: pretrained by OURS, against a reference of kind THEIRS."""
    absent: str
    """Why there is no arm of the paper; empty where there is one."""
    others: tuple[ModelAnswers, ...]
    """Other arms, of which the paper says nothing."""
    resamples: int
    """The fewest that any p-value of the page is of."""

    @property
    def smallest_p(self) -> float:
        """That Holm's correction can leave to a difference of the paper's arms."""
        return smallest_adjusted_p(self.resamples, self.tests)

    @property
    def tests(self) -> int:
        """Differences that are corrected together for the paper's arms."""
        return sum(len(answer.tests) for model in self.paper for answer in model.answers)

    def count(self, word: Word) -> int:
        """How many claims of the paper's arms have a word; all are not tested where there is no such arm."""
        if not self.paper:
            return len(CLAIMS) if word is Word.NOT_TESTED else 0
        return sum(len(model.titles(word)) for model in self.paper)


def answer(records: PaperRecords) -> PaperAnswers:
    """All claims of all arms; p-values are corrected by Holm, once for the paper's arms and once for the others.

    The paper's arms are a family of their own: which they are does not depend on results, and arms that the paper does
    not have should not cost them power.
    """
    plan = records.comparison["plan"]
    challengers = [arm for arm in plan["arms"] if arm != records.reference]
    absent = _absent(records, challengers)
    ours = [] if absent else [arm for arm in challengers if _is_ours(arm, records)]
    others = [arm for arm in challengers if arm not in ours]
    return PaperAnswers(
        reference=records.reference,
        paper=_answer_family(records, ours),
        absent=absent,
        others=_answer_family(records, others),
        resamples=records.resamples,
    )


def _is_ours(arm: str, records: PaperRecords) -> bool:
    """The paper's VAE starts at random; one that starts from published weights is another method."""
    return records.kinds[arm] == OURS and arm not in records.published


def _absent(records: PaperRecords, challengers: Sequence[str]) -> str:
    kind = records.kinds[records.reference]
    if kind != THEIRS:
        return f"the reference {records.reference} is of kind {kind}, the paper's is of kind {THEIRS}"
    if not any(_is_ours(arm, records) for arm in challengers):
        kinds = sorted({records.kinds[arm] + STARTED * (arm in records.published) for arm in challengers})
        return f"no arm is of kind {OURS}; the arms beside {records.reference} are of kind {', '.join(kinds) or 'none'}"
    return ""


def _answer_family(records: PaperRecords, arms: Sequence[str]) -> tuple[ModelAnswers, ...]:
    """Every claim of these arms, with one correction over all their differences."""
    models = [(arm, protocol) for protocol in records.comparison["plan"]["protocols"] for arm in arms]
    measured = {model: measure(records, *model) for model in models}
    corrected = iter(holm([each.p for found in measured.values() for each in found]))
    tested = {
        (arm, protocol): [
            Tested(each, p := next(corrected), judge(each, p, records.standing(arm, protocol), records.rule))
            for each in found
        ]
        for (arm, protocol), found in measured.items()
    }
    return tuple(_model(arm, protocol, tests) for (arm, protocol), tests in tested.items())


def _model(arm: str, protocol: str, tested: Sequence[Tested]) -> ModelAnswers:
    answers = []
    for claim in CLAIMS:
        own = tuple(each for each in tested if each.measurement.claim == claim.key)
        judgement = combine([each.judgement for each in own], UNTESTED.get(claim.key, ""))
        answers.append(Answer(claim, own, judgement))
    return ModelAnswers(arm, FinetuneProtocol(protocol), tuple(answers))


def as_metrics(found: PaperAnswers) -> dict[str, int]:
    """How many claims of the paper's arms have each word, and how many differences were tested for them."""
    counts: Mapping[str, int] = {word.name.lower(): found.count(word) for word in Word}
    return {**counts, "tests": found.tests}
