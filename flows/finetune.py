"""Fine-tune the classifier of one arm: with one seed, arms differ in the encoder only."""

from __future__ import annotations

from typing import Any

from components.base.log import Log
from components.base.run_id import FinetuneProtocol, RunId
from components.data.labels import Labels
from components.models.backbone import Backbone
from components.training.settings import Augment, Compute
from components.training.settings import Finetune as FinetuneSettings
from flows.orchestration.run_state import code_sha256
from flows.settings.study import Paths
from flows.stage import stage
from flows.stage_io.training import TrainingFiles, read_split, train_classifier


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
    """Train on train images and choose the epoch on val images; test images are not read."""
    run = RunId(arm, FinetuneProtocol(protocol), seed)
    return train_classifier(
        run,
        files=TrainingFiles.of(
            run, stage="finetune", classifiers=paths.classifiers, paths=paths, images=paths.epoch_losses
        ),
        train=read_split(paths, labels, "train"),
        val=read_split(paths, labels, "val"),
        labels=labels,
        backbone=backbone,
        augment=augment,
        finetune=finetune,
        compute=compute,
        code_sha256=code_sha256("finetune"),
        log=log,
    )


if __name__ == "__main__":
    finetune.main()
