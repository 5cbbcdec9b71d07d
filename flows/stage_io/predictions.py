"""Ask classifiers of the study about packed images, on one session and in one precision for every stage that does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

import pandas as pd

from components.base.log import Log
from components.data.pixels import read_pixels
from components.models.backbone import Backbone
from components.models.classifier import Classifier, predict
from components.models.weights_file import load_classifier
from components.training.examples import Examples
from components.training.session import Session, open_session
from flows.settings.study import Compute, Paths, Study


def open_reader(backbone: Backbone, compute: Compute, log: Log) -> Session:
    """A session in which nothing is learned: full precision, so that stages and machines say the same of an image."""
    return open_session(compute.device, compute.threads, "32-true", cpu=backbone.cpu, seed=0, checkpoint=None, log=log)


def read_examples(folder: Path, classes: Sequence[str]) -> Examples:
    """The packed images of a folder with the classes that they are of."""
    pixels = read_pixels(folder)
    return Examples(pixels, pixels.labels(classes))


def run_names(study: Study) -> list[str]:
    """Every run of the study, as its files are named."""
    return [f"{arm}-{protocol}-{seed}" for arm, protocol, seed in product(study.arms, study.protocols, study.seeds)]


def load_run(path: Path, backbone: Backbone, classes: Sequence[str], session: Session) -> Classifier:
    """The classifier of a file, on the session's device."""
    classifier = load_classifier(path, backbone, classes)
    session.place(classifier)
    return classifier


def predict_runs(
    study: Study,
    examples: Mapping[str, Examples],
    classes: Sequence[str],
    backbone: Backbone,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each run of the study with its predictions, as `predict_file` has them."""
    session = open_reader(backbone, compute, log)
    runs = run_names(study)
    for run in log.track(runs, len(runs), "predictions"):
        yield run, predict_file(paths.classifiers / f"{run}.safetensors", examples, backbone, classes, session)


def predict_file(
    path: Path, examples: Mapping[str, Examples], backbone: Backbone, classes: Sequence[str], session: Session
) -> pd.DataFrame:
    """What the classifier of a file says: one row an image of `examples`, whose keys stand in `split`."""
    classifier = load_run(path, backbone, classes, session)
    return pd.concat([_predict(classifier, each, split, classes) for split, each in examples.items()])


def _predict(classifier: Classifier, examples: Examples, split: str, classes: Sequence[str]) -> pd.DataFrame:
    """One row an image of the split: what it is, and the probability of each class."""
    index = examples.pixels.index
    table = index[["image_id", "lesion_id", "group"]].assign(split=split, label=index["label"])
    probabilities = predict(classifier, examples.in_order())  # (N, K)
    return table.assign(**{f"p_{name}": probabilities[:, k] for k, name in enumerate(classes)})
