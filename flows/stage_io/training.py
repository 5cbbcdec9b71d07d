"""One fine-tuning from its encoder's file to the classifier's and the curve's; several stages train this way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic_core import to_jsonable_python

from components.base.files import whole
from components.base.log import Log
from components.base.run_id import FinetuneProtocol
from components.data.labels import Labels
from components.data.pixels import read_pixels
from components.models.backbone import Backbone
from components.models.weights_file import load_encoder, save_classifier
from components.training.augment import Augment
from components.training.conditions import Conditions, Phase, read_examples
from components.training.examples import Examples
from components.training.finetuning import finetune_encoder
from components.training.loop import Fit
from components.training.session import open_session
from flows.settings.study import Compute, Paths
from flows.settings.training import Finetune as FinetuneSettings


@dataclass(frozen=True)
class Files:
    """What a training reads, and what it leaves behind."""

    encoder: Path
    classifier: Path
    curve: Path
    checkpoint: Path  # the folder of its resume state, gone when it is done


def read_split(paths: Paths, labels: Labels, split: str) -> Examples:
    """The packed images of a split with their classes."""
    return read_examples(read_pixels(paths.pixels / split), labels.classes, split)


def train_classifier(
    run: str,
    files: Files,
    train: Examples,
    val: Examples,
    protocol: FinetuneProtocol,
    seed: int,
    labels: Labels,
    backbone: Backbone,
    augment: Augment,
    finetune: FinetuneSettings,
    compute: Compute,
    log: Log,
) -> dict[str, Any]:
    """One training from its encoder's file to the classifier's and the curve's; `run` names it in them.

    Gives the curve's first, last and best row, and the fingerprints of all that must be equal for all arms.
    """
    encoder = load_encoder(files.encoder, backbone)
    conditions = build_conditions(protocol, labels, augment, finetune)
    session = open_session(**compute.model_dump(), cpu=backbone.cpu, seed=seed, checkpoint=files.checkpoint, log=log)
    settings = _settings(labels, backbone, augment, finetune)
    done = finetune_encoder(encoder, train, val, conditions, session, log, settings, what=run)
    header = {"run": run, "classes": labels.classes, "head": finetune.head.model_dump()}
    if session.leads:
        save_classifier(files.classifier, done.weights, backbone, header)
        _write_curve(files.curve, done.fit.history)
    session.forget()
    return {**_summary(done.fit), **done.fingerprints}


def build_conditions(
    protocol: FinetuneProtocol, labels: Labels, augment: Augment, finetune: FinetuneSettings
) -> Conditions:
    """What all arms have in common under a protocol."""
    plain = finetune.model_dump(exclude={"frozen", "full", "lpft", "head"})
    phases = _phases(protocol, finetune)
    return Conditions(labels.classes, phases, augment=augment, **finetune.head.model_dump(), **plain)


def _phases(protocol: FinetuneProtocol, finetune: FinetuneSettings) -> list[Phase]:
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
