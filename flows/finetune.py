"""Train one arm's classifier: with one seed, arms differ in the encoder and in nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic_core import to_jsonable_python

from components.augment import Augment
from components.backbones import Backbone
from components.classifier import Examples, save_classifier
from components.encoder import load_encoder
from components.files import whole
from components.finetuning import Conditions, Phase, finetune_encoder, read_examples
from components.log import Log
from components.pixels import read_pixels
from components.session import open_session
from components.training import Fit
from flows.settings import Compute, Labels, Paths
from flows.settings import Finetune as FinetuneSettings
from flows.stage import stage

Protocol = Literal["frozen", "full", "lpft"]


@stage(resumes=True)
def finetune(
    arm: str,
    protocol: Protocol,
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
    train, val = (_read(paths, labels, split) for split in ("train", "val"))
    encoder = load_encoder(paths.encoders / f"{arm}.safetensors", backbone)
    conditions = _conditions(protocol, labels, augment, finetune)
    folder = paths.checkpoints / "finetune" / run
    session = open_session(**compute.model_dump(), cpu=backbone.cpu, seed=seed, checkpoint=folder, log=log)
    settings = _settings(labels, backbone, augment, finetune)
    done = finetune_encoder(encoder, train, val, conditions, session, log, settings, what=run)
    header = {"run": run, "classes": labels.classes, "head": finetune.head.model_dump()}
    if session.leads:
        save_classifier(paths.classifiers / f"{run}.safetensors", done.weights, backbone, header)
        _write_curve(paths.curves / "finetune" / f"{run}.csv", done.fit.history)
    session.forget()
    return {**_summary(done.fit), **done.fingerprints}


def _read(paths: Paths, labels: Labels, split: str) -> Examples:
    return read_examples(read_pixels(paths.pixels / split), labels.classes, split)


def _conditions(protocol: Protocol, labels: Labels, augment: Augment, finetune: FinetuneSettings) -> Conditions:
    """What all arms have in common."""
    plain = finetune.model_dump(exclude={"frozen", "full", "lpft", "head"})
    phases = _phases(protocol, finetune)
    return Conditions(labels.classes, phases, augment=augment, **finetune.head.model_dump(), **plain)


def _phases(protocol: Protocol, finetune: FinetuneSettings) -> list[Phase]:
    """The schedules of a protocol in order, each with what learns under it."""
    frozen, full = finetune.frozen, finetune.full
    if protocol == "lpft":
        frozen, full = finetune.lpft.head, finetune.lpft.full
    both = [Phase("frozen", **frozen.model_dump()), Phase("full", **full.model_dump())]
    return [phase for phase in both if protocol in ("lpft", phase.protocol)]


def _settings(labels: Labels, backbone: Backbone, augment: Augment, finetune: FinetuneSettings) -> dict[str, object]:
    """What a resume state must have been made with, by its keys in params.yaml."""
    sections = {"backbone": backbone, "augment": augment, "finetune": finetune}
    return {"labels.classes": labels.classes, **to_jsonable_python(sections)}


def _write_curve(path: Path, curve: list[dict[str, float]]) -> None:
    """One row an epoch, the epoch first."""
    with whole(path) as unfinished:
        pd.DataFrame(curve).to_csv(unfinished, index_label="epoch", lineterminator="\n")


def _summary(fit: Fit) -> dict[str, Any]:
    """First, last and best row of the curve; epochs count from 0."""
    first, last, best = fit.history[0], fit.history[-1], fit.history[fit.best_epoch]
    return {"first": first, "last": last, "best": best, "best_epoch": fit.best_epoch, "epochs": len(fit.history)}


if __name__ == "__main__":
    finetune.main()
