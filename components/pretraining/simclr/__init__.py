"""Contrastive learning (SimCLR): views of one image, or images of one lesion, come together, all others go apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from components.models.initial_weights import initialise
from components.pretraining import TrainingTask
from components.training.pretraining.convergence import find_unfinished
from components.training.pretraining.gradient_training import GradientTraining, check_measurable

if TYPE_CHECKING:
    from torch import Tensor

    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Backbone
    from components.models.encoder import Encoder, Ints
    from components.pretraining.simclr.learner import SimclrLearner
    from components.training.batches import EpochBatches
    from components.training.session import Session

EXAMPLE: Mapping[str, Any] = {"epochs": 2, "batch_size": 8, "hidden": 16, "projection": 8}
"""Settings that train in seconds, for tests."""

SHOWN = 8
"""Pairs in the figure of views."""

LEAST_SPREAD = 0.1
"""Of projections on val, where 1 is the whole sphere; below it they are nearly one point."""

MOST_OF_CHANCE = 0.9
"""Share of the loss of equal projections that the loss on val may have."""


class Config(GradientTraining):
    """Views, head, loss and schedule."""

    baseline: ClassVar[bool] = False

    kind: Literal["simclr"] = "simclr"
    pairs: Literal["image", "lesion"] = Field(
        default="image", description="two views of an image, or of two images of a lesion where it has several"
    )
    batch_size: int = Field(default=64, ge=2, description="pairs; each view is compared with all others of its batch")
    temperature: PositiveFloat = Field(default=0.2, ge=0.01, description="divides the cosines of projections")
    reads: Literal["last_map", "all_stages"] = Field(
        default="all_stages", description="the maps whose pooled features the head reads"
    )
    hidden: PositiveInt = Field(default=512, description="of the head's hidden layer")
    projection: int = Field(default=64, ge=2, description="numbers of a projection")
    least_area: float = Field(
        default=0.4, gt=0, le=1, description="share of an image's area that a view keeps at least"
    )
    jitter: float = Field(default=0.4, ge=0, lt=1, description="of brightness, contrast, saturation, +- share")

    def learner(self, encoder: Encoder, train: Pixels, session: Session) -> TrainingTask[SimclrLearner]:
        """Encoder and head with their loss and optimiser."""
        import torch

        from components.models.standardised_features import StandardisedFeatures
        from components.pretraining.simclr.learner import Projector, SimclrLearner
        from components.training.pretraining.image_changes import ImageChanges

        torch.manual_seed(session.seed)  # the weights of the head depend on the seed only
        features = StandardisedFeatures(encoder, self.reads, frozen_norm=self.frozen_norm)
        projector = Projector(features, self.hidden, self.projection)
        batches = partial(_draw_epoch, train, self, session.seed)
        steps = len(batches(0))
        changes = ImageChanges(least_area=self.least_area, jitter=self.jitter)
        return TrainingTask(SimclrLearner(projector, changes, self.temperature, self.optimiser(steps)), batches, steps)

    def fit(
        self, encoder: Encoder, *, backbone: Backbone, train: Pixels, val: Pixels, session: Session, log: Log
    ) -> Sequence[Mapping[str, float]]:
        """Train encoder and head together; the caller keeps the encoder only.

        Raises:
            TrainingError: with fewer than two validation images, or where a loss is not finite.
            WeightsError: where published weights are missing, changed, or of another network.
        """
        from components.pretraining.simclr.pairs import count_lesions_with_pairs

        check_measurable(val, "SimCLR", least=2)  # each is compared with another
        origin = initialise(encoder, self.init, backbone)
        if self.pairs == "lesion":
            log.line(f"SimCLR: {count_lesions_with_pairs(train.index)} lesions have two images or more")
        task = self.learner(encoder, train, session)
        curve = self.run_training(
            task.module,
            task.batches,
            task.steps_per_epoch,
            backbone=backbone,
            train=train,
            session=session,
            log=log,
            what="SimCLR",
            origin=f"SimCLR from {origin}",
            end_of_epoch=partial(_measure, task.module, val, self),
            describe=_describe,
        )
        if session.leads:
            _draw_views(task.module, next(iter(task.batches(0))), log)
        return curve

    def alarms(self, curve: Sequence[Mapping[str, float]]) -> list[str]:
        """What makes the training unfit to be judged, in words; empty for a sound one."""
        last = curve[-1]
        found = find_unfinished([-row["val/contrast"] for row in curve], "fall of the contrastive loss on val")
        if last["val/spread"] < LEAST_SPREAD:
            found.append(
                f"collapse: projections of val have {last['val/spread']:.2f} of the spread of a whole sphere "
                f"(expected {LEAST_SPREAD:g} or more)"
            )
        if last["val/contrast"] > MOST_OF_CHANCE * last["val/chance"]:
            found.append(
                f"nothing learned: the contrastive loss on val is {last['val/contrast']:.2f} nats, equal projections "
                f"have {last['val/chance']:.2f} (expected {MOST_OF_CHANCE:.0%} of that or less)"
            )
        return found


def _draw_epoch(pixels: Pixels, config: Config, seed: int, epoch: int) -> EpochBatches:
    """One epoch's pairs in a new order."""
    from components.pretraining.simclr.pairs import draw_pairs
    from components.training.batches import EpochBatches, generator, shuffled_batches

    pairs = draw_pairs(pixels.index, config.pairs, generator(seed, epoch, 1))  # of shuffled_batches: (seed, epoch)
    names = pixels.index["image_id"].to_numpy()
    return EpochBatches(
        shuffled_batches(len(pairs), config.batch_size, seed, epoch),
        draw=lambda _step, rows, _first: _take(pixels, pairs[rows]),
        names=lambda rows: [" and ".join(dict.fromkeys(names[pair])) for pair in pairs[rows]],
    )


def _take(pixels: Pixels, pairs: Ints) -> tuple[Tensor, Tensor]:
    """Images and partners, (B, 3, S, S) uint8 each, of row numbers (B, 2)."""
    from components.models.encoder import to_tensor

    first, second = pairs.T
    images = to_tensor(pixels.take(first))
    return images, images if (first == second).all() else to_tensor(pixels.take(second))


def _measure(learner: SimclrLearner, val: Pixels, config: Config, _epoch: int) -> dict[str, float]:
    """The loss and what it means on val, with pairs, batches and views that are the same after each epoch."""
    from components.pretraining.simclr.learner import measure
    from components.training.pretraining.images import MOST_MEASURED

    batches = _draw_epoch(val, config, seed=0, epoch=0)
    most = -(-MOST_MEASURED // config.batch_size)
    return {f"val/{name}": value for name, value in measure(learner, islice(batches, most)).items()}


def _describe(row: Mapping[str, float]) -> str:
    """The state after the last epoch as one line."""
    return (
        f"contrastive loss on val {row['val/contrast']:.2f} nats (equal projections {row['val/chance']:.2f}), "
        f"{row['val/found']:.0%} of views find their partner, spread {row['val/spread']:.2f} of 1"
    )


def _draw_views(learner: SimclrLearner, batch: tuple[Tensor, Tensor], log: Log) -> None:
    """The first pairs of a batch and a random view of each of their images, as a figure."""
    import torch

    from components.report.figures import tiles
    from components.training.pretraining.image_changes import random_symmetry

    first, second = (images[:SHOWN].float() / 255 for images in batch)
    views = [learner.changes(random_symmetry(images)) for images in (first, second)]
    images = torch.stack([first, views[0], second, views[1]]).movedim(2, -1).contiguous().numpy()
    names = ["image", "its view", "partner", "its view"]
    log.figure("views.png", tiles.draw(images, names, "Pairs, and the views that come together"))
