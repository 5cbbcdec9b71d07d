"""One fine-tuning, from the file of its encoder to the files of classifier and curve; two stages train this way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic_core import to_jsonable_python

from components.base.files import whole
from components.base.log import Log
from components.base.run_id import RunId
from components.data.labels import Labels
from components.data.pixels import read_pixels
from components.models.backbone import Backbone
from components.models.classifier_file import save_classifier
from components.models.weights_file import load_encoder, read_architecture, read_header
from components.training.conditions import build_conditions
from components.training.examples import Examples, read_examples
from components.training.finetuning import finetune_encoder
from components.training.loop import Fit
from components.training.session import open_session
from components.training.settings import Augment, Compute, Finetune
from flows.settings.study import Paths
from flows.stage_io.files import write_curve


@dataclass(frozen=True, kw_only=True)
class TrainingFiles:
    """The files that a fine-tuning reads and writes."""

    encoder: Path
    classifier: Path
    curve: Path
    images: Path | None
    """Results of each image after each epoch; None: they are not written."""
    checkpoint: Path
    """Folder of the resume state, deleted at the end."""

    @classmethod
    def of(cls, run: RunId, *, stage: str, classifiers: Path, paths: Paths, images: Path | None = None) -> Self:
        """The files of a run of `stage`, whose classifiers are in `classifiers` and results by image in `images`."""
        return cls(
            encoder=paths.encoders / f"{run.encoder}.safetensors",
            classifier=classifiers / f"{run}.safetensors",
            curve=paths.curves / stage / f"{run}.csv",
            images=None if images is None else images / f"{run}.parquet",
            checkpoint=paths.checkpoints / stage / str(run),
        )


def read_split(paths: Paths, labels: Labels, split: str) -> Examples:
    """The packed images of a split with their classes."""
    return read_examples(read_pixels(paths.pixels / split), labels.classes, split)


def train_classifier(
    run: RunId,
    *,
    files: TrainingFiles,
    train: Examples,
    val: Examples,
    labels: Labels,
    backbone: Backbone,
    augment: Augment,
    finetune: Finetune,
    compute: Compute,
    code_sha256: str,
    log: Log,
) -> dict[str, Any]:
    """Fine-tune the encoder of `files` on `train`, and write classifier, curve and results by image.

    Returns:
        First, last and best row of the curve, the architecture's settings, whether the arm is a baseline, alarms of its
        pretraining, the hashes of everything that must be equal for all arms with the settings behind them, and the
        hash of the encoder.
    """
    architecture = read_architecture(files.encoder, backbone)
    encoder = load_encoder(files.encoder, backbone)
    conditions = build_conditions(run.protocol, classes=labels.classes, augment=augment, finetune=finetune)
    session = open_session(compute, cpu=architecture.cpu, seed=run.seed, checkpoint=files.checkpoint, log=log)
    sections = {"backbone": architecture, "augment": augment, "finetune": finetune}
    result = finetune_encoder(
        encoder,
        train=train,
        val=val,
        conditions=conditions,
        session=session,
        log=log,
        settings={"labels.classes": labels.classes, **to_jsonable_python(sections)},  # by their keys in params.yaml
        what=str(run),
    )
    head = {"features": finetune.features, "head": finetune.head.model_dump()}
    header = {"run": str(run), "classes": labels.classes, **head}
    if session.leads:
        save_classifier(files.classifier, result.weights, architecture, header)
        write_curve(files.curve, result.fit.history)
        if files.images is not None and result.images is not None:
            with whole(files.images) as unfinished:
                result.images.to_parquet(unfinished, index=False)
    session.forget()
    made = read_header(files.encoder)
    arm = {
        "architecture": to_jsonable_python(architecture),
        "baseline": made.get("baseline", False),
        "alarms": made.get("alarms", []),
    }
    prints = {**result.fingerprints, "code_sha256": code_sha256, "encoder_sha256": result.encoder_sha256}
    return {**_summary(result.fit), **arm, **prints, **result.described}


def _summary(fit: Fit) -> dict[str, Any]:
    """First, last and best row of the curve."""
    first, last = fit.history[0], fit.history[-1]
    return {
        "first": first,
        "last": last,
        "best": fit.best_row,
        "best_epoch": fit.best_epoch,
        "epochs": len(fit.history),
    }
