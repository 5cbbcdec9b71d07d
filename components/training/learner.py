"""The Lightning module of fine-tuning: what learns, with which loss and optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, Self

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from components.models.classifier import Classifier, Ints
from components.models.layer_groups import freeze, layer_scales
from components.training.conditions import Conditions, Phase
from components.training.losses import Objective, build_objective
from components.training.optimizers import adamw


class Learner(pl.LightningModule):
    """What of the classifier learns: all of it, or its head; a frozen encoder stands outside and is not saved again.

    With `ema` (the decay a step) the moving average of the weights is what counts, BatchNorm's statistics included;
    it begins at the weights after the first step and is kept in resume states as a part of the module.
    """

    def __init__(
        self,
        classifier: Classifier,
        protocol: Literal["frozen", "full"],
        objective: Objective,
        optimise: Any,
        *,
        frozen_stages: int = 0,
        ema: float | None = None,
    ) -> None:
        super().__init__()
        whole = protocol == "full"
        self.net: nn.Module = classifier if whole else classifier.head
        self.fixed = () if whole else (classifier.encoder.eval(),)  # in a tuple torch does not count it as a part
        self.objective = objective
        self.optimise = optimise
        classifier.encoder.requires_grad_(whole)
        self.still = freeze(classifier.encoder.trunk, frozen_stages) if whole else []
        self.average = None if ema is None else _average(self.net, ema)

    @property
    def evaluated(self) -> nn.Module:
        """The classifier or head that is measured and kept."""
        return self.net if self.average is None else self.average.module

    def chosen(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of `evaluated` within one of this module."""
        prefix = "net." if self.average is None else "average.module."
        return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

    def train(self, mode: bool = True) -> Self:
        """Training mode for all that learns."""
        super().train(mode)
        for module in (*self.still, *self.fixed, *([] if self.average is None else [self.average])):
            module.eval()
        return self

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> dict[str, Tensor]:
        """The objective on uint8 images (B, 3, S, S) or features (B, D), and classes (B,) or their shares (B, K)."""
        inputs, targets = batch
        logits = self._logits(inputs)  # (B, K)
        return {"loss": self.objective(logits.float(), targets)}

    def _logits(self, inputs: Tensor) -> Tensor:
        if inputs.dtype == torch.uint8:
            inputs = inputs.float() / 255
            for encoder in self.fixed:
                with torch.no_grad():
                    inputs = encoder(inputs).float()  # (B, D)
        logits: Tensor = self.net(inputs)
        return logits

    def configure_optimizers(self) -> Any:
        """What `optimise` says."""
        return self.optimise(self)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Lightning's, and then the average follows."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update_parameters(self.net)


def _average(net: nn.Module, decay: float) -> AveragedModel:
    follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    average = AveragedModel(net, multi_avg_fn=follow, use_buffers=True)
    return average.requires_grad_(False)


def build_learner(classifier: Classifier, phase: Phase, conditions: Conditions, labels: Ints, steps: int) -> Learner:
    """The phase's learner; `labels` (N,) are the train images', `steps` are an epoch's."""
    scales: dict[str, float] = {}
    if phase.protocol == "full" and conditions.layer_decay != 1:
        found = layer_scales(classifier.encoder.trunk, conditions.layer_decay)
        scales = {f"net.encoder.trunk.{name}": scale for name, scale in found.items()}
    optimise = partial(
        adamw,
        learning_rate=phase.learning_rate,
        weight_decay=conditions.weight_decay,
        total_steps=phase.epochs * steps,
        warm_up=conditions.warm_up,
        decay=conditions.decay,
        scales=scales,
    )
    frozen_stages, ema = conditions.freeze, conditions.ema
    objective = _objective(conditions, labels)
    return Learner(classifier, phase.protocol, objective, optimise, frozen_stages=frozen_stages, ema=ema)


def _objective(conditions: Conditions, labels: Ints) -> Objective:
    classes, gamma = len(conditions.classes), conditions.focal_gamma
    return build_objective(conditions.imbalance, labels, classes, gamma, conditions.label_smoothing)
