"""Explains models one after another on the same cases: attribution maps with their check, and nearest train lesions.

N test images, M train images, B cases, K classes, D features, S the image's side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from components.data.pixels import Pixels
from components.explanations.analysis import CaseExplanation, ModelExplanation
from components.explanations.attribution import (
    Attribution,
    attribute,
    rank_correlations,
    scale_maps,
    structural_similarities,
)
from components.explanations.map_check import OTHER_SEED, MapSimilarity, compare_maps, share_missed
from components.explanations.neighbours import Neighbour, class_agreement, nearest_lesions, standardise
from components.explanations.selection import Case, ConfidentError, ModelRuns
from components.explanations.settings import Explain
from components.explanations.weight_randomisation import build_random_classifier, randomise_cascading
from components.models.backbone import Architecture
from components.models.classifier import Classifier, predict
from components.models.encoder import embed, read_batches, to_tensor, weights_sha256
from components.statistics.question import StudyQuestion
from components.statistics.runs import Images, Run

Array = npt.NDArray[Any]

BATCH_NORM_IMAGES = 256
"""Train images from which a network with randomised weights computes its means and variances."""


@dataclass(frozen=True)
class LabelledImages:
    """The packed images of a split with their class indices."""

    pixels: Pixels
    labels: Array  # (N,)

    @cached_property
    def row(self) -> dict[str, int]:
        """Row numbers by image id."""
        return {str(name): row for row, name in enumerate(self.pixels.index["image_id"])}

    def batches(self) -> Iterator[Tensor]:
        """All images in batches (B, 3, S, S) uint8."""
        return read_batches(self.pixels.take, np.arange(len(self.labels)))


@dataclass(frozen=True, kw_only=True)
class Explainer:
    """What all models have in common: images, settings, and the way to load a classifier."""

    train: LabelledImages
    test: LabelledImages
    question: StudyQuestion
    settings: Explain
    architecture: Callable[[Run], Architecture]
    """Of a run's classifier."""
    load: Callable[[Run], Classifier]
    """Loads a run's classifier onto `device`."""
    place: Callable[[nn.Module], object]
    """Moves a module to `device`, in place."""
    device: str

    def explain(
        self,
        model: ModelRuns,
        images: Images,
        cases: Sequence[Case],
        *,
        errors: Sequence[ConfidentError],
        wrong: int,
    ) -> ModelExplanation:
        """Explain one model.

        Args:
            model: the run that represents it, and all its runs.
            images: the test images in the order of the predictions.
            cases: the test images on the page, the same for all models.
            errors: the model's most confident errors.
            wrong: how many test images the chosen run classifies wrongly.
        """
        classifier = self.load(model.chosen)
        rows = np.array([self.test.row[case.image] for case in cases])
        probabilities = predict(classifier, [to_tensor(self.test.pixels.take(rows))])  # (B, K)
        pictures = self._to_device(self.test, rows)  # (B, 3, S, S)
        predicted = torch.from_numpy(probabilities.argmax(1)).to(self.device)  # (B,)
        found = attribute(classifier, pictures, predicted, self.settings.steps)
        drawn = np.flatnonzero([case.drawn for case in cases])
        similarities = tuple(
            self._compare(name, other, found.maps[drawn], pictures[drawn], predicted[drawn])
            for name, other in self._other_models(model, classifier)
        )
        shares, neighbours = self._neighbours(model, images, rows)
        return ModelExplanation(
            run=model.chosen.id,
            similarities=similarities,
            missed=share_missed(found.missing[drawn], found.change[drawn]),
            agreement=class_agreement(
                images,
                shares,
                resamples=self.question.resamples,
                confidence=self.question.rule.confidence,
                seed=self.settings.seed,
            ),
            encoders=len(shares),
            errors=tuple(errors),
            wrong=wrong,
            cases=self._case_explanations(cases, probabilities, found, neighbours),
        )

    def _to_device(self, examples: LabelledImages, rows: Array) -> Tensor:
        """(B, 3, S, S) in [0, 1]."""
        return to_tensor(examples.pixels.take(rows)).to(self.device).float() / 255

    @cached_property
    def _batch_norm_images(self) -> Tensor:
        """(B, 3, S, S) random train images, the same for all models."""
        rng = np.random.default_rng([self.settings.seed, 0x5E7])
        count = len(self.train.labels)
        return self._to_device(self.train, rng.choice(count, min(BATCH_NORM_IMAGES, count), replace=False))

    def _other_models(self, model: ModelRuns, classifier: Classifier) -> Iterator[tuple[str, Classifier]]:
        """The classifier of another seed, if there is one, then copies of this one with randomised weights."""
        for run in [run for run in model.runs if run.name != model.chosen.name][:1]:
            yield OTHER_SEED, self.load(run)
        random = build_random_classifier(self.architecture(model.chosen), classifier, self.settings.seed)
        self.place(random)
        yield from randomise_cascading(classifier, random, self._batch_norm_images)

    def _compare(self, name: str, other: Classifier, maps: Array, pictures: Tensor, targets: Tensor) -> MapSimilarity:
        """Similarity of maps (B, S, S) to those of another model for the same images and classes."""
        others = attribute(other, pictures, targets, self.settings.steps).maps  # (B, S, S)
        return compare_maps(
            name,
            rank=rank_correlations(maps, others),
            magnitude=rank_correlations(np.abs(maps), np.abs(others)),
            structure=structural_similarities(maps, others),
            confidence=self.question.rule.confidence,
        )

    def _neighbours(
        self, model: ModelRuns, images: Images, rows: Array
    ) -> tuple[list[Array], list[tuple[Neighbour, ...]]]:
        """Nearest train lesions in each distinct encoder of the model's runs.

        Returns:
            Of each encoder, (N,) the share of each image's neighbours that have its class, in the order of `images`;
            and the neighbours of the test images `rows` in the chosen run's encoder.
        """
        order = np.array([self.test.row[str(name)] for name in images.names])
        groups = self.train.pixels.index["group"].to_numpy(str)
        shares: dict[str, Array] = {}
        shown: list[tuple[Neighbour, ...]] = []
        for run in [model.chosen, *(run for run in model.runs if run is not model.chosen)]:
            encoder = self.load(run).encoder
            weights = weights_sha256(encoder)
            if weights in shares:  # a frozen encoder is the same in every run
                continue
            raw = [embed(encoder, each.batches()).numpy() for each in (self.train, self.test)]
            train, test = (standardise(features, raw[0]) for features in raw)  # (M, D), (N, D)
            near, distances = nearest_lesions(train, groups, test, self.settings.neighbours)
            shares[weights] = (self.train.labels[near] == self.test.labels[:, None]).mean(1)[order]
            shown = shown or [self._named(near[row], distances[row]) for row in rows]
        return list(shares.values()), shown

    def _named(self, near: Array, distances: Array) -> tuple[Neighbour, ...]:
        index = self.train.pixels.index.iloc[near]
        columns = index["image_id"].astype(str), index["label"].astype(str), map(float, distances)
        return tuple(Neighbour(*each) for each in zip(*columns, strict=True))

    def _case_explanations(
        self,
        cases: Sequence[Case],
        probabilities: Array,
        attribution: Attribution,
        neighbours: Sequence[tuple[Neighbour, ...]],
    ) -> tuple[CaseExplanation, ...]:
        columns = zip(cases, probabilities, scale_maps(attribution.maps), neighbours, strict=True)
        return tuple(
            CaseExplanation(case.image, self.question.classes[p.argmax()], float(p.max()), own_map, near)
            for case, p, own_map, near in columns
        )
