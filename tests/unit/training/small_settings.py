"""Settings and sessions of small trainings on a CPU, in one place for all tests."""

from __future__ import annotations

from pathlib import Path

from components.base.log import Log, SilentLog
from components.models.backbone import CpuProfile
from components.training.conditions import Conditions, Phase
from components.training.session import Session, open_session
from components.training.settings import Augment, Compute, Finetune, Head, HeadFirst, Schedule

FP32 = CpuProfile(precision="32-true", channels_last=True)
AUGMENT = Augment(flips_and_turns=True, scale=0.15, shift=0.05, brightness=0.1, contrast=0.1, hue=4, saturation=10)
NO_AUGMENT = Augment(flips_and_turns=False, scale=0, shift=0, brightness=0, contrast=0, hue=0, saturation=0)
SCHEDULE = Schedule(epochs=3, learning_rate=0.01)
CLASSES = ("benign", "malignant", "vascular")


def small_compute(**changes: object) -> Compute:
    """One CPU thread; `changes` are fields of `Compute`."""
    given: dict[str, object] = {"device": "cpu", "threads": 1, "precision": "auto", "compile": False}
    return Compute.model_validate(given | changes)


def cpu_session(
    cpu: CpuProfile = FP32, *, seed: int = 0, checkpoint: Path | None = None, log: Log | None = None, **compute: object
) -> Session:
    """A session on one CPU thread; `compute` are fields of `Compute`."""
    return open_session(small_compute(**compute), cpu=cpu, seed=seed, checkpoint=checkpoint, log=log or SilentLog())


def small_finetune(**changes: object) -> Finetune:
    """Three epochs of small batches and no option switched on; `changes` are fields of `Finetune`."""
    given: dict[str, object] = {
        "frozen": SCHEDULE, "full": SCHEDULE, "lpft": HeadFirst(head=SCHEDULE, full=SCHEDULE), "batch_size": 6,
        "weight_decay": 0.0, "warm_up": 0.1, "decay": "cosine", "clip": None, "ema": None, "label_smoothing": 0.0,
        "features": "last_map", "head": Head(hidden=8, dropout=0.2), "imbalance": "none", "focal_gamma": 2.0,
        "monitor": "loss", "patience": 9, "views": None, "layer_decay": 1.0, "freeze": 0, "drop_path": None,
        "mixup": 0.0, "cutmix": 0.0,
    }  # fmt: skip
    return Finetune.model_validate(given | changes)


def small_conditions(phase: Phase | None = None, augment: Augment = AUGMENT, **changes: object) -> Conditions:
    """The conditions of one phase, by default of the whole network; `changes` are fields of `Finetune`."""
    phases = [phase or Phase("all", SCHEDULE)]
    return Conditions(classes=CLASSES, phases=phases, augment=augment, finetune=small_finetune(**changes))
