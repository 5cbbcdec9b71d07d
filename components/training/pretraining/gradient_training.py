"""Settings that all methods share which train an encoder by gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from components.base.config import Frozen
from components.base.errors import TrainingError
from components.models.initial_weights import Init, licence_of

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from torch import nn

    from components.base.licence import Licence
    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Backbone
    from components.training.batches import EpochBatches
    from components.training.session import Session


class GradientTraining(Frozen):
    """First weights, schedule and optimiser."""

    init: Init = Field(
        default="random",
        description="weights that training starts from: random, imagenet (of the package), or {source, file, sha256} "
        "as of the arm imagenet",
    )
    frozen_norm: bool = Field(
        default=False,
        description="BatchNorm of the backbone keeps the mean and variance of the first weights, as in evaluation; "
        "for published weights",
    )
    epochs: PositiveInt = 10
    batch_size: int = Field(default=64, ge=2)
    learning_rate: PositiveFloat = Field(default=0.0003, description="peak of the one-cycle schedule, of AdamW")
    weight_decay: float = Field(default=0.01, ge=0)

    @model_validator(mode="after")
    def _statistics_are_known(self) -> Self:
        if self.frozen_norm and self.init == "random":
            raise ValueError("frozen_norm: true needs published weights, whose statistics it keeps; init is random")
        return self

    @property
    def licence(self) -> Licence | None:
        """Terms of the published weights that training starts from; None for random ones."""
        return licence_of(self.init)

    def optimiser(self, steps_per_epoch: int) -> Callable[[nn.Module], Any]:
        """From a module to AdamW with its schedule over the whole training."""
        from components.training.optimizers import adamw

        return partial(
            adamw,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            total_steps=self.epochs * steps_per_epoch,
        )

    def alarms(self, curve: Sequence[Mapping[str, float]]) -> list[str]:
        """What makes the training unfit to be judged, in words; each method has its own signs."""
        raise NotImplementedError

    def run_training(
        self,
        module: pl.LightningModule,
        batches: Callable[[int], EpochBatches],
        steps_per_epoch: int,
        *,
        backbone: Backbone,
        train: Pixels,
        session: Session,
        log: Log,
        what: str,
        origin: str,
        end_of_epoch: Callable[[int], dict[str, float]],
        describe: Callable[[Mapping[str, float]], str],
        conditions: Mapping[str, object] | None = None,
    ) -> Sequence[Mapping[str, float]]:
        """Train `module` over all epochs; log the origin of the weights, the state at the end, and the alarms.

        Args:
            module: left with the weights of the last epoch, also where a resume state was complete.
            batches: of an epoch, by its number from 0.
            steps_per_epoch: their number.
            backbone: of the settings.
            train: images that the batches come from; with settings and backbone they are what a resume state compares.
            session: device, number format, seed, folder of the resume state.
            log: the run.
            what: name of the training in log lines and errors.
            origin: of the weights, without the seed.
            end_of_epoch: what is measured on val, by the epoch's number from 0.
            describe: the last row as one line.
            conditions: more that the result depends on.

        Returns:
            One row of numbers an epoch.

        Raises:
            TrainingError: where a loss is not finite.
        """
        from components.training import loop
        from components.training.pretraining.images import describe_conditions

        result = loop.fit(
            module,
            batches,
            steps_per_epoch,
            epochs=self.epochs,
            session=session,
            log=log,
            settings={**describe_conditions(self.model_dump(mode="json"), backbone, train), **(conditions or {})},
            end_of_epoch=end_of_epoch,
            what=what,
        )
        module.load_state_dict(result.best_state)
        log.tags({"weights/source": f"{origin}, seed {session.seed}"})
        for line in (describe(result.history[-1]), *self.alarms(result.history)):
            log.line(f"{what}: {line}")
        return result.history


def check_measurable(val: Pixels, what: str, least: int = 1) -> None:
    """Without validation images the quality of a training is not known.

    Raises:
        TrainingError: with fewer than `least` of them; `what` names the training.
    """
    if len(val) < least:
        raise TrainingError(
            f"{what}: {len(val)} validation images, expected {least} or more to measure; raise split.val (params.yaml)"
        )
