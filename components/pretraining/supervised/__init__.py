"""Training with the labels of train images: the encoder of a classifier; unlabelled images are not used."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from components.base.errors import TrainingError
from components.models.initial_weights import initialise
from components.pretraining import TrainingTask
from components.training.pretraining.convergence import find_unfinished
from components.training.pretraining.gradient_training import GradientTraining, check_measurable

if TYPE_CHECKING:
    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Backbone
    from components.models.encoder import Encoder, Ints
    from components.pretraining.supervised.learner import Classifier, SupervisedLearner
    from components.training.batches import EpochBatches
    from components.training.session import Session

EXAMPLE: Mapping[str, Any] = {"epochs": 2, "batch_size": 8}
"""Settings that train in seconds, for tests."""


class Config(GradientTraining):
    """What the network sees, its loss and schedule.

    Its encoder has seen the labels on which the head of the study is trained: the overfitting gap of its classifiers
    is that of both trainings.
    """

    baseline: ClassVar[bool] = False

    kind: Literal["supervised"] = "supervised"
    reads: Literal["last_map", "all_stages"] = Field(
        default="all_stages", description="the maps whose pooled features are classified"
    )
    label_smoothing: float = Field(default=0.1, ge=0, lt=1, description="share of each target spread over all classes")
    least_area: float = Field(default=0.6, gt=0, le=1, description="share of an image's area that is seen at least")
    jitter: float = Field(default=0.2, ge=0, lt=1, description="of brightness, contrast, saturation, +- share")

    def learner(self, encoder: Encoder, train: Pixels, session: Session) -> TrainingTask[SupervisedLearner]:
        """Encoder and classifier with their loss, which weights classes by inverse frequency, and optimiser.

        Raises:
            TrainingError: where labelled train images are of fewer than two classes.
        """
        import torch

        from components.models.standardised_features import StandardisedFeatures
        from components.pretraining.supervised.learner import Classifier, SupervisedLearner
        from components.training.losses import build_objective
        from components.training.pretraining.image_changes import ImageChanges

        labelled, classes = _labelled(train), find_classes(train)
        labels = labelled.labels(classes)
        torch.manual_seed(session.seed)  # the weights of the linear map depend on the seed only
        features = StandardisedFeatures(encoder, self.reads, frozen_norm=self.frozen_norm)
        batches = partial(_draw_epoch, labelled, labels, self.batch_size, session.seed)
        steps = len(batches(0))
        objective = build_objective("weights", labels, len(classes), 0.0, self.label_smoothing)
        changes = ImageChanges(least_area=self.least_area, jitter=self.jitter)
        classifier = Classifier(features, len(classes))
        return TrainingTask(SupervisedLearner(classifier, changes, objective, self.optimiser(steps)), batches, steps)

    def fit(
        self, encoder: Encoder, *, backbone: Backbone, train: Pixels, val: Pixels, session: Session, log: Log
    ) -> Sequence[Mapping[str, float]]:
        """Train encoder and classifier together; the caller keeps the encoder only.

        Raises:
            DataError: where val has a class that train lacks.
            TrainingError: without validation images, or where a loss is not finite.
            WeightsError: where published weights are missing, changed, or of another network.
        """
        check_measurable(val, "supervised")
        origin = initialise(encoder, self.init, backbone)
        task = self.learner(encoder, train, session)
        used = _labelled(train)
        log.line(f"supervised: {len(used)} of {len(train)} images have a label, the others are not used")
        return self.run_training(
            task.module,
            task.batches,
            task.steps_per_epoch,
            backbone=backbone,
            train=train,
            session=session,
            log=log,
            what="supervised",
            origin=f"trained with labels from {origin}",
            end_of_epoch=partial(_measure, task.module.classifier, val, find_classes(train)),
            describe=_describe,
            conditions={"labels": hashlib.sha256(",".join(used.index["label"]).encode()).hexdigest()},
        )

    def alarms(self, curve: Sequence[Mapping[str, float]]) -> list[str]:
        """What makes the training unfit to be judged, in words; empty for a sound one."""
        last = curve[-1]
        found = find_unfinished([-row["val/log_loss"] for row in curve], "fall of the log loss on val")
        if last["val/balanced_accuracy"] <= last["val/guessing"]:
            found.append(
                f"nothing learned: the balanced accuracy on val is {last['val/balanced_accuracy']:.1%}, guessing gives "
                f"{last['val/guessing']:.1%}"
            )
        return found


def _describe(row: Mapping[str, float]) -> str:
    """The state after the last epoch as one line."""
    return f"balanced accuracy on val {row['val/balanced_accuracy']:.1%}"


def find_classes(train: Pixels) -> list[str]:
    """The labels of train images in alphabetical order.

    Raises:
        TrainingError: where they are fewer than two.
    """
    classes = sorted(set(_labelled(train).index["label"]))
    if len(classes) < 2:
        raise TrainingError(
            f"supervised: train images have the labels {classes}, expected two or more; see labels.scheme (params.yaml)"
        )
    return classes


def _labelled(train: Pixels) -> Pixels:
    """The images that have a label."""
    label = train.index["label"]
    return train.rows(np.flatnonzero(label.notna() & (label != "")))


def _draw_epoch(pixels: Pixels, labels: Ints, size: int, seed: int, epoch: int) -> EpochBatches:
    """One epoch's images in a new order, each with its class."""
    import torch

    from components.models.encoder import to_tensor
    from components.training.pretraining.images import draw_epoch

    classes = torch.from_numpy(labels)
    return replace(
        draw_epoch(pixels, size, seed, epoch),
        draw=lambda _step, rows, _first: (to_tensor(pixels.take(rows)), classes[torch.from_numpy(rows)]),
    )


def _measure(classifier: Classifier, val: Pixels, classes: Sequence[str], _epoch: int) -> dict[str, float]:
    """Balanced accuracy and log loss on val, with what guessing gives."""
    import torch

    from components.models.encoder import INFERENCE_BATCH, read_batches
    from components.pretraining.supervised.learner import measure

    rows = np.arange(len(val))
    labels = torch.split(torch.from_numpy(val.labels(classes)), INFERENCE_BATCH)
    row = measure(classifier, zip(read_batches(val.take, rows), labels, strict=True))
    return {f"val/{name}": value for name, value in row.items()} | {"val/guessing": 1 / len(classes)}
