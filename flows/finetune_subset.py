"""One point of the learning curve: as the stage `finetune`, on a share of the train lesions."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.base.errors import SettingsError
from components.base.log import Log
from components.base.run_id import FinetuneProtocol, RunId
from components.data.labels import Labels
from components.label_efficiency.settings import LabelEfficiency as LabelEfficiencySettings
from components.label_efficiency.subsets import LesionSubset, describe_subset, draw_subset
from components.models.backbone import Backbone
from components.training.conditions import build_conditions
from components.training.examples import Examples
from components.training.finetune_batches import FinetuneBatches
from components.training.settings import Augment, Compute, Schedule
from components.training.settings import Finetune as FinetuneSettings
from flows.orchestration.run_state import code_sha256
from flows.settings.study import Paths
from flows.stage import stage
from flows.stage_io.training import TrainingFiles, read_split, train_classifier


@stage(resumes=True)
def finetune_subset(
    arm: str,
    protocol: FinetuneProtocol,
    seed: int,
    share: float,
    labels: Labels,
    backbone: Backbone,
    augment: Augment,
    finetune: FinetuneSettings,
    label_efficiency: LabelEfficiencySettings,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> dict[str, Any]:
    """Train on `share` of the train lesions; val is the same as without a share, and test images are not read."""
    if share not in label_efficiency.shares:
        raise SettingsError(
            f"share {share} is none of label_efficiency.shares {list(label_efficiency.shares)} (params.yaml)"
        )
    run = RunId(arm, FinetuneProtocol(protocol), seed, share)
    everything, val = (read_split(paths, labels, split) for split in ("train", "val"))
    subset = draw_subset(_groups(everything), everything.labels, share, [label_efficiency.seed, seed])
    train = Examples(everything.pixels.rows(subset.rows), everything.labels[subset.rows])
    if label_efficiency.budget == "steps":
        conditions = build_conditions(run.protocol, classes=labels.classes, augment=augment, finetune=finetune)
        steps, fewer = (FinetuneBatches(images, conditions, seed).steps for images in (everything, train))
        finetune = lengthen(finetune, steps=steps, fewer=fewer)
    _log_subset(subset, share, train, labels, log)
    result = train_classifier(
        run,
        files=TrainingFiles.of(run, stage="finetune_subset", classifiers=paths.partial, paths=paths),
        train=train,
        val=val,
        labels=labels,
        backbone=backbone,
        augment=augment,
        finetune=finetune,
        compute=compute,
        code_sha256=code_sha256("finetune_subset"),
        log=log,
    )
    return {**_sizes(subset, train, everything), **result}


def lengthen(finetune: FinetuneSettings, *, steps: int, fewer: int) -> FinetuneSettings:
    """Schedules and patience with more epochs, so that the total number of steps stays the same.

    Args:
        finetune: settings for epochs of `steps` steps.
        steps: of an epoch over all train images.
        fewer: of an epoch over the subset.
    """

    def more(epochs: int) -> int:
        return -(-epochs * steps // fewer)  # rounded up

    def longer(schedule: Schedule) -> Schedule:
        return schedule.model_copy(update={"epochs": more(schedule.epochs)})

    lpft = {"head": longer(finetune.lpft.head), "full": longer(finetune.lpft.full)}
    changes = {
        "frozen": longer(finetune.frozen),
        "full": longer(finetune.full),
        "lpft": finetune.lpft.model_copy(update=lpft),
        "patience": more(finetune.patience),
    }
    return finetune.model_copy(update=changes)


def _groups(examples: Examples) -> np.ndarray[Any, Any]:
    """The group of each image (N,): images of a group are of the same lesion or patient."""
    return examples.pixels.index["group"].to_numpy(str)


def _sizes(subset: LesionSubset, train: Examples, everything: Examples) -> dict[str, int]:
    """Lesions and images of the subset, and all train lesions."""
    all_lesions = len(np.unique(_groups(everything)))
    return {"lesions": subset.groups, "all_lesions": all_lesions, "images": len(train.labels)}


def _log_subset(subset: LesionSubset, share: float, train: Examples, labels: Labels, log: Log) -> None:
    log.line(f"{subset.groups} lesions with {len(train.labels)} images: {100 * share:g} % of the train lesions")
    for line in describe_subset(subset, share, labels.classes):
        log.line(line)


if __name__ == "__main__":
    finetune_subset.main()
