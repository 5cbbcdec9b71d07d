"""Distillation: the encoder learns, without labels, to predict the features of a frozen published network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from components.base.config import Frozen, OneOf
from components.models.backbone import Backbone
from components.models.initial_weights import initialise
from components.models.published import Published
from components.pretraining import TrainingTask
from components.training.pretraining.convergence import find_unfinished
from components.training.pretraining.gradient_training import GradientTraining, check_measurable

if TYPE_CHECKING:
    from torch import Tensor

    from components.base.licence import Licence
    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.encoder import Encoder
    from components.pretraining.distill.learner import DistillLearner, Student
    from components.pretraining.distill.teacher import TeacherNetwork
    from components.training.batches import EpochBatches
    from components.training.session import Session

EXAMPLE: Mapping[str, Any] = {
    "epochs": 2, "batch_size": 8, "teacher": {"backbone": {"kind": "efficientnet_lite0"}, "image_size": 48},
}  # fmt: skip
"""Settings that train in seconds, for tests."""

LEAST_EXPLAINED = 0.1
"""Share of the variance of the teacher's features on val below which the student is said to have learned nothing."""


class Teacher(Frozen):
    """A published network whose features are predicted; it is not trained."""

    backbone: Annotated[Backbone, OneOf("models.backbones")] = Field(
        description="any one, also another than the student's; written out, since results depend on its file"
    )
    weights: Published = Published()
    image_size: int | None = Field(
        default=None, ge=32, description="pixels to which its images are enlarged; null: the size of the packed ones"
    )
    reads: Literal["last_map", "all_stages"] = Field(
        default="all_stages", description="the maps whose pooled features are predicted"
    )


class Config(GradientTraining):
    """Teacher, what the student sees, and schedule."""

    baseline: ClassVar[bool] = False

    kind: Literal["distill"] = "distill"
    teacher: Teacher
    reads: Literal["last_map", "all_stages"] = Field(
        default="all_stages", description="the student's maps whose pooled features predict the teacher's"
    )
    least_area: float = Field(
        default=1.0, gt=0, le=1, description="share of an image's area that the student sees at least"
    )
    jitter: float = Field(default=0.2, ge=0, lt=1, description="of brightness, contrast, saturation, +- share")
    hidden: float = Field(
        default=0.0, ge=0, lt=1, description="share of the image's cells that the student does not see"
    )
    cell: int = Field(default=16, ge=1, description="pixels, the side of a cell")

    @property
    def licence(self) -> Licence:
        """Terms of the teacher's weights, from which all that the student knows comes."""
        return self.teacher.weights.licence

    def learner(self, encoder: Encoder, train: Pixels, session: Session) -> TrainingTask[DistillLearner]:
        """The student with its objective and optimiser; the teacher's features of all train images are computed here.

        Raises:
            WeightsError: where the teacher's weights are missing, changed, or of another network.
        """
        import torch

        from components.models.standardised_features import StandardisedFeatures
        from components.pretraining.distill.learner import DistillLearner, Student
        from components.training.pretraining.image_changes import ImageChanges

        teacher = self._teach(train, session)
        torch.manual_seed(session.seed)  # the weights of the linear map depend on the seed only
        features = StandardisedFeatures(encoder, self.reads, frozen_norm=self.frozen_norm)
        student = Student(features, teacher.train_targets.shape[1])
        batches = partial(_draw_epoch, train, teacher.train_targets, self.batch_size, session.seed)
        steps = len(batches(0))
        changes = ImageChanges(self.least_area, self.jitter, self.hidden, self.cell)
        return TrainingTask(DistillLearner(student, teacher, changes, self.optimiser(steps)), batches, steps)

    def _teach(self, train: Pixels, session: Session) -> TeacherNetwork:
        """The teacher with its features of all train images."""
        from components.pretraining.distill.teacher import TeacherNetwork

        network = self.teacher.backbone.build()
        initialise(network, self.teacher.weights, self.teacher.backbone)
        session.place(network)
        with session.autocast():
            return TeacherNetwork.of(network.read(self.teacher.reads), train, self.teacher.image_size or train.size)

    def fit(
        self, encoder: Encoder, *, backbone: Backbone, train: Pixels, val: Pixels, session: Session, log: Log
    ) -> Sequence[Mapping[str, float]]:
        """Train encoder and linear map together; the caller keeps the encoder only.

        Raises:
            TrainingError: without validation images, or where a loss is not finite.
            WeightsError: where published weights are missing, changed, or of another network.
        """
        check_measurable(val, "distillation", least=1)
        origin = initialise(encoder, self.init, backbone)
        task = self.learner(encoder, train, session)
        with session.autocast():
            of_val = task.module.teacher.targets(val)
        teacher = f"{self.teacher.weights.source} weights of {self.teacher.backbone.kind}"
        return self.run_training(
            task.module,
            task.batches,
            task.steps_per_epoch,
            backbone=backbone,
            train=train,
            session=session,
            log=log,
            what="distillation",
            origin=f"distilled from {teacher} into {origin}",
            end_of_epoch=partial(_measure, task.module.student, val, of_val),
            describe=_describe,
        )

    def alarms(self, curve: Sequence[Mapping[str, float]]) -> list[str]:
        """What makes the training unfit to be judged, in words; empty for a sound one."""
        explained = [row["val/explained"] for row in curve]
        found = find_unfinished(explained, "rise of the explained variance on val")
        if explained[-1] < LEAST_EXPLAINED:
            found.append(
                f"nothing learned: the student predicts {explained[-1]:.1%} of the variance of the teacher's features "
                f"of val (expected {LEAST_EXPLAINED:.0%} or more)"
            )
        return found


def _describe(row: Mapping[str, float]) -> str:
    """The state after the last epoch as one line."""
    return f"predicts {row['val/explained']:.1%} of the variance of the teacher's features of val"


def _draw_epoch(pixels: Pixels, targets: Tensor, size: int, seed: int, epoch: int) -> EpochBatches:
    """One epoch's images in a new order, each with its target."""
    import torch

    from components.models.encoder import to_tensor
    from components.training.pretraining.images import draw_epoch

    images = draw_epoch(pixels, size, seed, epoch)
    return replace(
        images, draw=lambda _step, rows, _first: (to_tensor(pixels.take(rows)), targets[torch.from_numpy(rows)])
    )


def _measure(student: Student, val: Pixels, targets: Tensor, _epoch: int) -> dict[str, float]:
    """The error on val."""
    import torch

    from components.models.encoder import INFERENCE_BATCH, read_batches
    from components.pretraining.distill.learner import measure
    from components.training.pretraining.images import MOST_MEASURED, even_rows

    rows = even_rows(len(val), MOST_MEASURED)
    wanted = torch.split(targets[rows], INFERENCE_BATCH)
    row = measure(student, zip(read_batches(val.take, rows), wanted, strict=True))
    return {f"val/{name}": value for name, value in row.items()}
