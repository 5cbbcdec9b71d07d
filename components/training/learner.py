"""The Lightning module of fine-tuning: which part of the classifier is trained, with which loss and optimizer.

B batch, D features, K classes, S the image's side in pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, Self

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from components.models.classifier import Classifier
from components.models.encoder import Ints
from components.models.layer_groups import freeze, layer_scales
from components.training.conditions import Conditions, Phase
from components.training.losses import Objective, build_objective
from components.training.optimizers import adamw


class Learner(pl.LightningModule):
    """Trains the whole classifier or its head; a frozen encoder is not a part of the module and not saved with it.

    With `ema`, the decay per step of a moving average of the weights, the average is evaluated and saved, BatchNorm's
    statistics included. It starts from the weights after the first step and is a part of the module, so resume states
    contain it.
    """

    def __init__(
        self,
        classifier: Classifier,
        *,
        trains: Literal["head", "all"],
        objective: Objective,
        build_optimizer: Callable[[nn.Module], dict[str, Any]],
        frozen_stages: int = 0,
        ema: float | None = None,
    ) -> None:
        super().__init__()
        whole = trains == "all"
        self.net: nn.Module = classifier if whole else classifier.head
        # in a tuple, so that torch does not register it as a submodule
        self.frozen_encoder = () if whole else (classifier.encoder.eval(),)
        self.objective = objective
        self.build_optimizer = build_optimizer
        classifier.encoder.requires_grad_(whole)
        classifier.head.standardisation.fixed = not whole
        self.frozen_modules = freeze(classifier.encoder.trunk, frozen_stages) if whole else []
        self.average = None if ema is None else _moving_average(self.net, ema)

    @property
    def evaluated(self) -> nn.Module:
        """The classifier or head that is evaluated and saved."""
        return self.net if self.average is None else self.average.module

    def evaluated_state(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of `evaluated`, taken from a state dict of this module."""
        prefix = "net." if self.average is None else "average.module."
        return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

    def train(self, mode: bool = True) -> Self:
        """Set the mode of the trained part; frozen parts and the average stay in evaluation mode."""
        super().train(mode)
        averages = [] if self.average is None else [self.average]
        for module in (*self.frozen_modules, *self.frozen_encoder, *averages):
            module.eval()
        return self

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> dict[str, Tensor]:
        """The loss of uint8 images (B, 3, S, S) or features (B, D), with classes (B,) or their shares (B, K)."""
        inputs, targets = batch
        logits = self._logits(inputs)  # (B, K)
        return {"loss": self.objective(logits.float(), targets)}

    def _logits(self, inputs: Tensor) -> Tensor:
        if inputs.dtype == torch.uint8:
            inputs = inputs.float() / 255
            for encoder in self.frozen_encoder:
                with torch.no_grad():
                    inputs = encoder(inputs).float()  # (B, D)
        logits: Tensor = self.net(inputs)
        return logits

    def configure_optimizers(self) -> Any:
        """The optimizer and schedule of `build_optimizer`."""
        return self.build_optimizer(self)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Lightning's step, then the update of the moving average."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update_parameters(self.net)


def _moving_average(net: nn.Module, decay: float) -> AveragedModel:
    update = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    average = AveragedModel(net, multi_avg_fn=update, use_buffers=True)
    return average.requires_grad_(False)


def build_learner(
    classifier: Classifier, phase: Phase, conditions: Conditions, labels: Ints, steps_per_epoch: int
) -> Learner:
    """The learner of one phase; `labels` (N,) are those of the train images."""
    finetune = conditions.finetune
    scales: dict[str, float] = {}
    if phase.trains == "all" and finetune.layer_decay != 1:
        found = layer_scales(classifier.encoder.trunk, finetune.layer_decay)
        scales = {f"net.encoder.trunk.{name}": scale for name, scale in found.items()}
    build_optimizer = partial(
        adamw,
        learning_rate=phase.schedule.learning_rate,
        weight_decay=finetune.weight_decay,
        total_steps=phase.schedule.epochs * steps_per_epoch,
        warm_up=finetune.warm_up,
        decay=finetune.decay,
        scales=scales,
    )
    objective = build_objective(
        finetune.imbalance,
        labels,
        classes=len(conditions.classes),
        focal_gamma=finetune.focal_gamma,
        label_smoothing=finetune.label_smoothing,
    )
    return Learner(
        classifier,
        trains=phase.trains,
        objective=objective,
        build_optimizer=build_optimizer,
        frozen_stages=finetune.freeze,
        ema=finetune.ema,
    )
