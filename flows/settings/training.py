"""Settings of pretraining and fine-tuning."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from components.base.config import Frozen, OneOf
from components.base.fields import Name, Seed, Share
from components.pretraining import Method


class Pretrain(Frozen):
    """The arms: how each encoder gets its weights."""

    seed: Seed
    arms: dict[Name, Annotated[Method, OneOf("pretraining")]]


class Schedule(Frozen):
    """How long and how fast one protocol learns."""

    epochs: PositiveInt
    learning_rate: PositiveFloat = Field(description="peak, of AdamW")


class HeadFirst(Frozen):
    """The protocol lpft: linear probing, then fine-tuning from the best probe (Kumar et al. 2022)."""

    head: Schedule = Field(description="the head alone, on the frozen encoder")
    full: Schedule = Field(description="then all; warm-up and decay begin anew")


class Head(Frozen):
    """The classifier on top, identical for every arm: BatchNorm, Linear, GELU, dropout, Linear."""

    hidden: PositiveInt = Field(description="units of the hidden layer")
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Finetune(Frozen):
    """The identical classification conditions."""

    frozen: Schedule
    full: Schedule
    lpft: HeadFirst
    batch_size: PositiveInt
    weight_decay: float = Field(ge=0)
    warm_up: Share = Field(description="of all steps, over which the learning rate rises to its peak")
    decay: Literal["cosine", "constant"] = Field(description="of the learning rate after the warm-up")
    clip: PositiveFloat | None = Field(description="L2 norm to which a longer gradient is shortened; null: none is")
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        description="decay a step of the weights' moving average, which is then what is measured and kept; null: none"
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="share of each target spread over all classes"
    )
    head: Head
    imbalance: Literal["none", "weights", "sampling", "focal"] = Field(
        description="weights: inverse frequency in the loss; sampling: classes equally often; focal: Lin et al. 2017"
    )
    focal_gamma: float = Field(ge=0, description="of the focal loss alone")
    monitor: Literal["loss", "accuracy", "balanced_accuracy"] = Field(description="on val; chooses the best epoch")
    patience: PositiveInt = Field(description="epochs without a better value before it stops")
    views: Annotated[int, Field(ge=0)] | None = Field(
        description="encoder frozen: augmented views an image whose features are computed once, and which epochs go "
        "through in turn; 0: the images as they are; null: a new view each epoch, each through the encoder"
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        description="encoder learns: factor of the learning rate a block further from the head; 1: all alike"
    )
    freeze: int = Field(ge=0, description="encoder learns: its stem and so many first stages do not")
    drop_path: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        description="encoder learns: share of dropped residual branches in the last block; null: as the net was built"
    )
    mixup: float = Field(ge=0, description="encoder learns: alpha of Beta; 0: none")
    cutmix: float = Field(ge=0, description="encoder learns: alpha of Beta; 0: none; with mixup one of both at a step")
