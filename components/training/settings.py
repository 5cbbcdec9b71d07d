"""Settings of training: hardware, augmentation, and the fine-tuning conditions that all arms share.

Values and their validation only: reading them imports no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from components.base.config import Frozen
from components.base.fields import OpenShare, Share
from components.models.readout import Readout

ShareBelowOne = Annotated[float, Field(ge=0, lt=1)]

Strategy = Literal["auto", "ddp", "ddp_find_unused_parameters_true"]
Decay = Literal["cosine", "constant"]
Imbalance = Literal["none", "weights", "sampling", "focal"]


class Compute(Frozen):
    """The hardware and how it is used. Not part of a stage's freshness: another machine does not make results stale."""

    device: Literal["auto", "cpu", "cuda"] = Field(description="auto: a GPU where there is one")
    threads: PositiveInt = Field(description="threads a stage; the flow runs cores // threads stages at once")
    precision: Literal["auto", "32-true", "bf16-mixed"] = Field(
        description="auto: the backbone's own on a CPU, bf16 on a GPU"
    )
    compile: bool = Field(description="torch.compile on a GPU")
    checkpoint_minutes: PositiveFloat | None = Field(
        default=None, description="minutes between resume states within an epoch; null: only at the ends of epochs"
    )
    checkpoint_steps: PositiveInt | None = Field(default=None, description="the same, in steps")
    micro_batch: Annotated[int, Field(ge=3)] | None = Field(
        default=None,
        description="images that a device computes at once, their gradients are summed; null: the whole batch",
    )
    devices: PositiveInt = Field(
        default=1, description="GPUs, or processes on a CPU, that share each batch; number per host"
    )
    num_nodes: PositiveInt = Field(default=1, description="hosts; each runs the stage under torchrun")
    strategy: Strategy = Field(default="auto", description="how devices work together, as PyTorch Lightning names it")


class Augment(Frozen):
    """How train images are changed at random; the draws are the same for every arm."""

    flips_and_turns: bool = Field(description="the eight symmetries of the square")
    scale: ShareBelowOne = Field(description="zoom, +- share of the side")
    shift: ShareBelowOne = Field(description="+- share of the side")
    brightness: ShareBelowOne = Field(description="+- share")
    contrast: ShareBelowOne = Field(description="+- share")
    hue: int = Field(ge=0, le=90, description="degrees, +-")
    saturation: int = Field(ge=0, le=255, description="of 255, +-")

    def describe(self) -> str:
        """One line of text; settings of zero are left out.

        >>> Augment(flips_and_turns=True, scale=0.15, shift=0, brightness=0, contrast=0, hue=4, saturation=0).describe()
        'flips and turns, zoom ±15 %, hue ±4°'
        """
        amounts = [
            ("zoom", self.scale, f"{100 * self.scale:g} %"),
            ("shift", self.shift, f"{100 * self.shift:g} %"),
            ("brightness", self.brightness, f"{100 * self.brightness:g} %"),
            ("contrast", self.contrast, f"{100 * self.contrast:g} %"),
            ("hue", self.hue, f"{self.hue}°"),
            ("saturation", self.saturation, f"{self.saturation} of 255"),
        ]
        parts = [f"{name} ±{text}" for name, amount, text in amounts if amount]
        return ", ".join(["flips and turns"] * self.flips_and_turns + parts) or "nothing"


class Schedule(Frozen):
    """How long one phase of a fine-tuning trains, and how fast."""

    epochs: PositiveInt
    learning_rate: PositiveFloat = Field(description="peak, of AdamW")


class HeadFirst(Frozen):
    """The protocol lpft: linear probing, then fine-tuning from the best epoch of the probe (Kumar et al. 2022)."""

    head: Schedule = Field(description="the head alone, on the frozen encoder")
    full: Schedule = Field(description="then the whole network; warm-up and decay start again")


class Head(Frozen):
    """The classifier on top, identical for every arm: standardisation, Linear, GELU, dropout, Linear."""

    hidden: PositiveInt = Field(description="units of the hidden layer")
    dropout: ShareBelowOne


class Finetune(Frozen):
    """The classification conditions that are identical for all arms."""

    frozen: Schedule
    full: Schedule
    lpft: HeadFirst
    batch_size: PositiveInt
    weight_decay: float = Field(ge=0)
    warm_up: Share = Field(description="of all steps, over which the learning rate rises to its peak")
    decay: Decay = Field(description="of the learning rate after the warm-up")
    clip: PositiveFloat | None = Field(
        description="L2 norm to which a longer gradient is shortened; null: no gradient is shortened"
    )
    ema: OpenShare | None = Field(
        description="decay per step of the moving average of the weights, which is then evaluated and saved; null: none"
    )
    label_smoothing: ShareBelowOne = Field(description="share of each target that is spread over all classes")
    features: Readout = Field(
        description="what the head gets, pooled: last_map, all_stages, or the number of one stage, from 1"
    )
    head: Head
    imbalance: Imbalance = Field(
        description="weights: inverse frequency in the loss; sampling: classes equally often; focal: Lin et al. 2017"
    )
    focal_gamma: float = Field(ge=0, description="of the focal loss alone")
    monitor: Literal["loss", "accuracy", "balanced_accuracy"] = Field(description="on val; chooses the best epoch")
    patience: PositiveInt = Field(description="epochs without a better value before training stops")
    views: Annotated[int, Field(ge=0)] | None = Field(
        description="frozen encoder: augmented views per image, whose features are computed once and which epochs use "
        "in turn; 0: the images without augmentation; null: a new view each epoch, each through the encoder"
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        description="trained encoder: factor of the learning rate per block away from the head; 1: the same for all"
    )
    freeze: int = Field(ge=0, description="trained encoder: its stem and this many first stages are not trained")
    drop_path: ShareBelowOne | None = Field(
        description="trained encoder: share of residual branches dropped in the last block; null: as the net was built"
    )
    mixup: float = Field(ge=0, description="trained encoder: alpha of Beta; 0: none")
    cutmix: float = Field(
        ge=0, description="trained encoder: alpha of Beta; 0: none; with mixup, each step uses one of the two"
    )
