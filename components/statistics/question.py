"""The study's question, the same for every analysis: which arms, against which reference, decided by which rule."""

from __future__ import annotations

from dataclasses import dataclass, replace

from components.base.run_id import FinetuneProtocol
from components.statistics.rule import Rule
from components.statistics.significance import resamples_needed


@dataclass(frozen=True)
class StudyQuestion:
    """What comparison, clinical assessment, robustness, external validation and the others have in common."""

    study: str
    arms: tuple[str, ...]
    protocols: tuple[FinetuneProtocol, ...]
    seeds: tuple[int, ...]
    reference: str
    """The arm that the others are compared with."""
    classes: tuple[str, ...]
    """In the order of the probabilities' columns."""
    rule: Rule
    resamples: int
    """Bootstrap resamples of lesions, at least as many as `with_resamples_for` demands."""
    seed: int
    """Of the resamples."""
    synthetic: bool
    """Whether the images are drawings, which every page then says."""
    ids_known: bool = True
    """Whether any image has the id of a patient or lesion; otherwise each counts as a lesion of its own."""
    unit: str = "lesions or patients"
    """What is resampled whole, and so what each interval is over: `patients`, `lesions`, `images`, or `lesions or
    patients` where the patients of some images alone are known."""
    lesions_known: bool = True
    """Whether every image has the id of a lesion."""
    missing_ids: tuple[str, ...] = ()
    """Sentences about images without ids, which the main page and the card show."""
    too_few: int | None = None
    """compare.resamples, where more resamples had to be drawn."""

    @property
    def challengers(self) -> tuple[str, ...]:
        """The arms besides the reference, in the study's order."""
        return tuple(arm for arm in self.arms if arm != self.reference)

    @property
    def comparisons(self) -> int:
        """How many comparisons the study makes: each challenger under each protocol."""
        return len(self.challengers) * len(self.protocols)

    @property
    def tests(self) -> int:
        """Size of the verdicts' Holm family: of each comparison, one hypothesis on accuracy and one on the gap.

        There are more hypotheses on accuracy, but they exclude each other (`significance.holm_over_all`).
        """
        return 2 * self.comparisons

    def with_resamples_for(self, tests: int) -> StudyQuestion:
        """The same with so many resamples that the smallest p-value of a family can reach alpha; never with fewer.

        A bootstrap's p-value is at least 2 / (resamples + 1). Where a family is so large that Holm's correction raises
        even that above alpha, no evidence could decide anything.

        Args:
            tests: size of the family that Holm's correction is over.
        """
        needed = resamples_needed(tests, self.rule.alpha)
        if self.resamples >= needed:
            return self
        return replace(self, resamples=needed, too_few=self.resamples if self.too_few is None else self.too_few)
