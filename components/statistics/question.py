"""The study's question, the same for every analysis: which arms, against which reference, decided by which rule."""

from __future__ import annotations

from dataclasses import dataclass

from components.base.run_id import FinetuneProtocol
from components.statistics.rule import Rule


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
    """Bootstrap resamples of lesions."""
    seed: int
    """Of the resamples."""
    synthetic: bool
    """Whether the images are drawings, which every page then says."""
    ids_known: bool = True
    """Whether any image has the id of a patient or lesion; otherwise each counts as a lesion of its own."""
    missing_ids: tuple[str, ...] = ()
    """Sentences about images without ids, which the main page and the card show."""

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
