"""What the benchmarks that train have in common: a session on one CPU thread, conditions without options."""

from __future__ import annotations

from pathlib import Path

from components.base.log import Log, SilentLog
from components.models.backbone import CpuProfile
from components.training.conditions import Conditions, Phase
from components.training.session import Session, open_session
from components.training.settings import Augment, Compute, Finetune, Head, HeadFirst

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
"""Of HAM10000, sorted."""
AUGMENT = Augment(flips_and_turns=True, scale=0.15, shift=0.05, brightness=0.1, contrast=0.1, hue=4, saturation=10)
FLIPS_AND_TURNS = Augment(flips_and_turns=True, scale=0, shift=0, brightness=0, contrast=0, hue=0, saturation=0)


def open_cpu_session(
    cpu: CpuProfile, *, seed: int = 0, checkpoint: Path | None = None, log: Log | None = None
) -> Session:
    """As a training opens it, on one thread of a CPU; it sets torch's threads and determinism for the process."""
    compute = Compute(device="cpu", threads=1, precision="auto", compile=False)
    return open_session(compute, cpu=cpu, seed=seed, checkpoint=checkpoint, log=log or SilentLog())


def build_conditions(
    phase: Phase, *, batch_size: int, augment: Augment = AUGMENT, clip: float | None = None, views: int | None = None
) -> Conditions:
    """One phase without early stopping, with weighted classes and no further option."""
    schedule = phase.schedule
    finetune = Finetune(
        frozen=schedule, full=schedule, lpft=HeadFirst(head=schedule, full=schedule), batch_size=batch_size,
        weight_decay=0.05, warm_up=0.1, decay="cosine", clip=clip, ema=None, label_smoothing=0.0,
        features="last_map", head=Head(hidden=256, dropout=0.2), imbalance="weights", focal_gamma=2.0, monitor="loss",
        patience=schedule.epochs, views=views, layer_decay=1.0, freeze=0, drop_path=None, mixup=0.0, cutmix=0.0,
    )  # fmt: skip
    return Conditions(classes=CLASSES, phases=[phase], augment=augment, finetune=finetune)
