"""One point of the learning curve: `finetune` on a part of the train lesions, all else as it is there."""

from __future__ import annotations

from typing import Any

import numpy as np

from components.base.errors import SettingsError
from components.base.log import Log
from components.base.run_id import FinetuneProtocol
from components.data.labels import Labels
from components.label_efficiency.subsets import Part, describe_part, draw_part
from components.models.backbone import Backbone
from components.training.augment import Augment
from components.training.examples import Examples
from components.training.finetune_batches import Feed
from flows.settings.analysis import LabelEfficiency as LabelEfficiencySettings
from flows.settings.study import Compute, Paths
from flows.settings.training import Finetune as FinetuneSettings
from flows.settings.training import Schedule
from flows.stage import stage
from flows.stage_io.training import Files, build_conditions, read_split, train_classifier


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
    """Learn from `share` of the train lesions; val is untouched and test images stay closed."""
    if share not in label_efficiency.shares:
        raise SettingsError(
            f"share {share} is none of label_efficiency.shares {list(label_efficiency.shares)} (params.yaml)"
        )
    run = f"{arm}-{protocol}-{seed}-{share}"
    files = Files(
        encoder=paths.encoders / f"{arm}.safetensors",
        classifier=paths.partial / f"{run}.safetensors",
        curve=paths.curves / "finetune_subset" / f"{run}.csv",
        checkpoint=paths.checkpoints / "finetune_subset" / run,
    )
    everything, val = (read_split(paths, labels, split) for split in ("train", "val"))
    part = draw_part(_groups(everything), everything.labels, share, [label_efficiency.seed, seed])
    train = Examples(everything.pixels.rows(part.rows), everything.labels[part.rows])
    if label_efficiency.budget == "steps":
        conditions = build_conditions(protocol, labels, augment, finetune)
        finetune = lengthen(finetune, *(Feed(images, conditions, seed).steps for images in (everything, train)))
    _tell(part, share, train, labels, log)
    result = train_classifier(run, files, train, val, protocol, seed, labels, backbone, augment, finetune, compute, log)
    return {**_size(part, train, everything), **result}


def lengthen(finetune: FinetuneSettings, steps: int, fewer: int) -> FinetuneSettings:
    """Schedules and patience in epochs of `fewer` steps, for as many steps as they have in epochs of `steps`."""

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
    return examples.pixels.index["group"].to_numpy(str)


def _size(part: Part, train: Examples, everything: Examples) -> dict[str, int]:
    """What was learned from, and of how much."""
    whole = len(np.unique(_groups(everything)))
    return {"lesions": part.groups, "all_lesions": whole, "images": len(train.labels)}


def _tell(part: Part, share: float, train: Examples, labels: Labels, log: Log) -> None:
    log.line(f"{part.groups} lesions with {len(train.labels)} images: {100 * share:g} % of those to learn from")
    for line in describe_part(part, share, labels.classes):
        log.line(line)


if __name__ == "__main__":
    finetune_subset.main()
