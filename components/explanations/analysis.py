"""The explanations of every model as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from components.base.run_id import FinetuneProtocol, RunId
from components.explanations.map_check import MapSimilarity, MapVerdict, judge_maps
from components.explanations.neighbours import Neighbour
from components.explanations.selection import Case, ConfidentError
from components.explanations.settings import Explain
from components.statistics.intervals import Interval
from components.statistics.question import StudyQuestion

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class CaseExplanation:
    """One model's prediction for one case, its map and its nearest train lesions."""

    image: str
    predicted: str
    probability: float  # of the predicted class
    map: Array  # (S, S) in [-1, 1], scaled for the page; above zero supports the predicted class
    neighbours: tuple[Neighbour, ...]


@dataclass(frozen=True, kw_only=True)
class ModelExplanation:
    """One arm under one protocol, by the run that represents it."""

    run: RunId
    similarities: tuple[MapSimilarity, ...]
    missed: float  # share of the logits' change that the integral missed, over the drawn images
    agreement: Interval  # share of the nearest train lesions that have the image's class, mean over classes
    encoders: int  # distinct ones, which the interval covers
    errors: tuple[ConfidentError, ...]
    wrong: int  # test images that the run classifies wrongly
    cases: tuple[CaseExplanation, ...]  # in the order of the result's cases

    @property
    def name(self) -> str:
        """`ARM-PROTOCOL`."""
        return self.run.model

    @property
    def arm(self) -> str:
        """The pretraining of the encoder."""
        return self.run.arm

    @property
    def protocol(self) -> FinetuneProtocol:
        """Which part of the network learned."""
        return self.run.protocol

    def verdict(self, settings: Explain) -> MapVerdict:
        """Whether its maps may be read."""
        return judge_maps(self.similarities, self.missed, same=settings.same_from, max_missed=settings.max_missed)


@dataclass(frozen=True, kw_only=True)
class ExplanationsResult:
    """All models on the same cases."""

    question: StudyQuestion
    settings: Explain
    malignant: tuple[str, ...] | None  # classes; None where not known
    images: int  # of the test split
    groups: int  # lesions or patients of the test split
    cases: tuple[Case, ...]
    models: tuple[ModelExplanation, ...]
