"""Train one arm's classifier: with one seed, arms differ in the encoder and in nothing else."""

from __future__ import annotations

from typing import Any

from components.base.log import Log
from components.base.run_id import FinetuneProtocol
from components.data.labels import Labels
from components.models.backbone import Backbone
from components.training.augment import Augment
from flows.settings.study import Compute, Paths
from flows.settings.training import Finetune as FinetuneSettings
from flows.stage import stage
from flows.stage_io.training import Files, read_split, train_classifier


@stage(resumes=True)
def finetune(
    arm: str,
    protocol: FinetuneProtocol,
    seed: int,
    labels: Labels,
    backbone: Backbone,
    augment: Augment,
    finetune: FinetuneSettings,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> dict[str, Any]:
    """Learn from train images, choose the epoch on val images; test images stay closed."""
    run = f"{arm}-{protocol}-{seed}"
    files = Files(
        encoder=paths.encoders / f"{arm}.safetensors",
        classifier=paths.classifiers / f"{run}.safetensors",
        curve=paths.curves / "finetune" / f"{run}.csv",
        checkpoint=paths.checkpoints / "finetune" / run,
    )
    train, val = (read_split(paths, labels, split) for split in ("train", "val"))
    return train_classifier(run, files, train, val, protocol, seed, labels, backbone, augment, finetune, compute, log)


if __name__ == "__main__":
    finetune.main()
