"""Settings that all methods share which train an encoder by gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from components.base.config import Frozen
from components.base.errors import TrainingError
from components.models.initial_weights import Init, licence_of

if TYPE_CHECKING:
    from torch import nn

    from components.base.licence import Licence
    from components.data.pixels import Pixels


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


def check_measurable(val: Pixels, what: str, least: int = 1) -> None:
    """Without validation images the quality of a training is not known.

    Raises:
        TrainingError: with fewer than `least` of them; `what` names the training.
    """
    if len(val) < least:
        raise TrainingError(
            f"{what}: {len(val)} validation images, expected {least} or more to measure; raise split.val (params.yaml)"
        )
