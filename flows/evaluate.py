"""Predict val and test images with every classifier of the study; no stage before it opens test images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.backbones import Backbone
from components.classifier import Classifier, Examples, load_classifier, predict
from components.files import whole
from components.lesion_mask import lesion_share
from components.log import Log
from components.metrics.accuracy import accuracy
from components.metrics.balanced_accuracy import balanced_accuracy
from components.metrics.confusion_matrix import confusion_matrix
from components.metrics.expected_calibration_error import expected_calibration_error
from components.metrics.log_loss import log_loss
from components.metrics.macro_auroc import macro_auroc
from components.metrics.sensitivity import sensitivity
from components.metrics.specificity import specificity
from components.pixels import read_pixels
from components.session import Session, open_session
from flows.settings import Compute, Labels, Paths, Study
from flows.settings import Evaluate as EvaluateSettings
from flows.stage import stage

SPLITS = ("val", "test")


@stage
def evaluate(
    study: Study,
    labels: Labels,
    backbone: Backbone,
    evaluate: EvaluateSettings,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> dict[str, dict[str, Any]]:
    """Write each run's predictions and confusions; return what is measured of it on test images."""
    _tell_of_others(paths.classifiers, run_names(study), log)
    examples = {split: read_examples(paths.pixels / split, labels.classes) for split in SPLITS}
    metrics = {}
    with whole(paths.predictions) as folder:
        folder.mkdir()
        for run, table in predict_runs(study, examples, labels.classes, backbone, paths, compute, log):
            table.to_parquet(folder / f"{run}.parquet", index=False)
            metrics[run] = _measure(table, labels.classes, evaluate.calibration_bins)
            _write_confusion(folder / f"{run}.confusion.csv", table, labels.classes)
        lesion_shares(examples["test"]).to_csv(folder / "lesion_share.csv", index=False, lineterminator="\n")
    return metrics


def lesion_shares(examples: Examples) -> pd.DataFrame:
    """How much of each picture the lesion fills, for who asks whom a model is worse for; NaN where none is found."""
    pixels = examples.pixels
    shares = [lesion_share(pixels.take(np.array([row]))[0]) for row in range(len(pixels))]
    return pixels.index[["image_id"]].assign(lesion_share=np.round(shares, 6))


def run_names(study: Study) -> list[str]:
    """Every run of the study, as its files are named."""
    return [f"{arm}-{protocol}-{seed}" for arm, protocol, seed in product(study.arms, study.protocols, study.seeds)]


def predict_runs(
    study: Study,
    examples: Mapping[str, Examples],
    classes: Sequence[str],
    backbone: Backbone,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each run of the study with its predictions: one row an image of `examples`, whose keys stand in `split`."""
    session = open_session(
        compute.device, compute.threads, "32-true", cpu=backbone.cpu, seed=0, checkpoint=None, log=log
    )
    runs = run_names(study)
    for run in log.track(runs, len(runs), "predictions"):
        classifier = load_classifier(paths.classifiers / f"{run}.safetensors", backbone, classes)
        session.place(classifier)
        yield run, pd.concat([_predict(classifier, each, split, classes) for split, each in examples.items()])


def _tell_of_others(folder: Path, runs: Sequence[str], log: Log) -> None:
    """Classifiers of an earlier study stay where they are, and count for nothing."""
    others = sorted({path.stem for path in folder.glob("*.safetensors")} - set(runs))
    if others:
        log.line(f"{folder}: {len(others)} classifiers are not of this study and are left out: {', '.join(others)}")


def read_examples(folder: Path, classes: Sequence[str]) -> Examples:
    """The packed images of a folder with the classes that they are of."""
    pixels = read_pixels(folder)
    return Examples(pixels, pixels.labels(classes))


def _predict(classifier: Classifier, examples: Examples, split: str, classes: Sequence[str]) -> pd.DataFrame:
    """One row an image of the split: what it is, and the probability of each class."""
    index = examples.pixels.index
    table = index[["image_id", "lesion_id", "group"]].assign(split=split, label=index["label"])
    probabilities = predict(classifier, examples.in_order())  # (N, K)
    return table.assign(**{f"p_{name}": probabilities[:, k] for k, name in enumerate(classes)})


def predict_file(
    path: Path, examples: Examples, split: str, backbone: Backbone, classes: Sequence[str], session: Session
) -> pd.DataFrame:
    """What the classifier of a file says of a split's images; as `predictions` has it."""
    classifier = load_classifier(path, backbone, classes)
    session.place(classifier)
    return _predict(classifier, examples, split, classes)


def _test_rows(table: pd.DataFrame, classes: Sequence[str]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Classes (N,) and probabilities (N, K) of the test images."""
    test = table[table["split"] == "test"]
    labels = pd.Index(list(classes)).get_indexer(pd.Index(test["label"])).astype(np.int64)
    return labels, test[[f"p_{name}" for name in classes]].to_numpy()


def _measure(table: pd.DataFrame, classes: Sequence[str], bins: int) -> dict[str, Any]:
    """Every metric; a class of which nothing can be said is left out of sensitivity or specificity."""
    given = _test_rows(table, classes)
    return {
        "balanced_accuracy": balanced_accuracy(*given),
        "accuracy": accuracy(*given),
        "macro_auroc": macro_auroc(*given),
        "ece": expected_calibration_error(*given, bins=bins),
        "log_loss": log_loss(*given),
        "sensitivity": _by_class(sensitivity(*given), classes),
        "specificity": _by_class(specificity(*given), classes),
    }


def _by_class(values: np.ndarray[Any, Any], classes: Sequence[str]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(classes, values, strict=True) if not np.isnan(value)}


def _write_confusion(path: Path, table: pd.DataFrame, classes: Sequence[str]) -> None:
    """Counts on test images: row the true class, column the predicted one."""
    counts = confusion_matrix(*_test_rows(table, classes))
    frame = pd.DataFrame(counts, index=pd.Index(list(classes), name="true"), columns=list(classes))
    frame.to_csv(path, lineterminator="\n")


if __name__ == "__main__":
    evaluate.main()
