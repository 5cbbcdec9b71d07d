"""Classifiers of the study applied to packed images, on the same hardware settings and precision in every stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import pandas as pd

from components.base.log import Log
from components.base.run_id import RunId
from components.data.pixels import read_pixels
from components.models.backbone import Backbone
from components.models.classifier import Classifier, predict
from components.models.classifier_file import load_classifier
from components.training.examples import Examples
from components.training.session import Session, open_session
from components.training.settings import Compute
from flows.settings.study import Paths, Study


def open_inference_session(backbone: Backbone, compute: Compute, log: Log) -> Session:
    """A session for prediction alone.

    Always float32 without compilation, so that stages and machines predict the same for an image.
    """
    hardware = Compute(device=compute.device, threads=compute.threads, precision="32-true", compile=False)
    return open_session(hardware, cpu=backbone.cpu, seed=0, checkpoint=None, log=log)


def read_packed(folder: Path, classes: Sequence[str]) -> Examples:
    """The packed images of a folder with their class indices; any number of classes may occur."""
    pixels = read_pixels(folder)
    return Examples(pixels, pixels.labels(classes))


def study_runs(study: Study) -> list[RunId]:
    """Every run of the study by arm, protocol and seed."""
    return [RunId(arm, protocol, seed) for arm, protocol, seed in product(study.arms, study.protocols, study.seeds)]


def classifier_path(run: RunId, paths: Paths) -> Path:
    """The weights file that `finetune` writes for a run of the study."""
    return paths.classifiers / f"{run}.safetensors"


def load_run(path: Path, backbone: Backbone, classes: Sequence[str], session: Session) -> Classifier:
    """The classifier of a weights file, on the session's device.

    Raises:
        CheckpointError: where the file is missing or damaged, or was made with another backbone or other classes.
    """
    classifier = load_classifier(path, backbone, classes)
    session.place(classifier)
    return classifier


def predict_runs(
    study: Study,
    examples: Mapping[str, Examples],
    *,
    classes: Sequence[str],
    backbone: Backbone,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The name of each run of the study and its predictions, see `predict_file`."""
    session = open_inference_session(backbone, compute, log)
    runs = study_runs(study)
    for run in log.track(runs, len(runs), "predictions"):
        table = predict_file(classifier_path(run, paths), examples, classes=classes, backbone=backbone, session=session)
        yield str(run), table


def predict_file(
    path: Path, examples: Mapping[str, Examples], *, classes: Sequence[str], backbone: Backbone, session: Session
) -> pd.DataFrame:
    """The predictions of one classifier.

    Args:
        path: the classifier's weights file.
        examples: images by the name of their split.
        classes: in the order of the probabilities.
        backbone: that the classifier must have.
        session: whose device computes.

    Returns:
        A row an image in the order of `examples`: image_id, lesion_id, group, split, label (the class's name) and one
        probability p_CLASS for each class.
    """
    classifier = load_run(path, backbone, classes, session)
    return pd.concat([_predict(classifier, each, split, classes) for split, each in examples.items()])


def _predict(classifier: Classifier, examples: Examples, split: str, classes: Sequence[str]) -> pd.DataFrame:
    index = examples.pixels.index
    table = index[["image_id", "lesion_id", "group"]].assign(split=split, label=index["label"])
    probabilities = predict(classifier, examples.in_order())  # (N, K)
    return table.assign(**{f"p_{name}": probabilities[:, k] for k, name in enumerate(classes)})
