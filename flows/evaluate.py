"""Predict val and test images with every classifier of the study, and measure each on the test images.

No stage before this one reads test images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from components.base.files import whole
from components.base.log import Log
from components.comparison.protocol import images_sha256
from components.comparison.settings import Evaluate as EvaluateSettings
from components.data.labels import Labels
from components.data.lesion_mask import lesion_share
from components.models.backbone import Backbone
from components.statistics.metrics import measure_scalars
from components.statistics.metrics.confusion_matrix import confusion_matrix
from components.statistics.metrics.expected_calibration_error import expected_calibration_error
from components.statistics.metrics.sensitivity import sensitivity
from components.statistics.metrics.specificity import specificity
from components.training.examples import Examples
from components.training.settings import Compute
from flows.settings.study import Paths, Study
from flows.stage import stage
from flows.stage_io.predictions import predict_runs, read_packed, study_runs
from flows.stage_io.protocol import count_opening, describe_models, models_sha256

SPLITS = ("val", "test")

BY_CLASS = {"sensitivity": sensitivity, "specificity": specificity}
"""Metrics of each class, written for every run: the model card shows them."""

ECE = "expected_calibration_error"
KEYS = {ECE: "ece"}
"""Keys of evaluate.json that are not the metric's name."""


class Dataset(Protocol):
    """The data set's section, of which the kind alone is read: its code changes no prediction."""

    kind: str


@stage
def evaluate(
    study: Study,
    dataset: Dataset,
    labels: Labels,
    backbone: Backbone,
    evaluate: EvaluateSettings,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> dict[str, dict[str, Any]]:
    """Write each run's predictions and confusion matrix; return its metrics on test images.

    Models that were not yet measured on these images are added to the openings of test images.
    """
    _log_other_classifiers(paths.classifiers, [str(run) for run in study_runs(study)], log)
    examples = {split: read_packed(paths.pixels / split, labels.classes) for split in SPLITS}
    metrics, tables = {}, {}
    with whole(paths.predictions) as folder:
        folder.mkdir()
        for run, table in predict_runs(
            study, examples, classes=labels.classes, backbone=backbone, paths=paths, compute=compute, log=log
        ):
            table.to_parquet(folder / f"{run}.parquet", index=False)
            tables[run] = table
            metrics[run] = measure_run(table, labels.classes, evaluate)
            _write_confusion(folder / f"{run}.confusion.csv", table, labels.classes)
        lesion_shares(examples["test"], log).to_csv(folder / "lesion_share.csv", index=False, lineterminator="\n")
    images, models = images_sha256(examples["test"].pixels.index), models_sha256(tables)
    log.tags({"test/images": images, "test/models": models, "test/what": describe_models(study)})
    if dataset.kind != "synthetic":  # drawings can be drawn anew
        count_opening(images, models, describe_models(study))
    return metrics


def lesion_shares(examples: Examples, log: Log) -> pd.DataFrame:
    """The share of each image that the lesion covers, for subgroups by lesion size; NaN where no outline is found."""
    pixels = examples.pixels
    rows = log.track(range(len(pixels)), len(pixels), "lesions outlined")
    shares = [lesion_share(pixels.take(np.array([row]))[0]) for row in rows]
    return pixels.index[["image_id"]].assign(lesion_share=np.round(shares, 6))


def _log_other_classifiers(folder: Path, runs: Sequence[str], log: Log) -> None:
    """Classifiers of an earlier study stay in the folder; they are not evaluated."""
    others = sorted({path.stem for path in folder.glob("*.safetensors")} - set(runs))
    if others:
        log.line(f"{folder}: {len(others)} classifiers are not of this study and are left out: {', '.join(others)}")


def _test_rows(table: pd.DataFrame, classes: Sequence[str]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Classes (N,) and probabilities (N, K) of the test images."""
    test = table[table["split"] == "test"]
    labels = pd.Index(list(classes)).get_indexer(pd.Index(test["label"])).astype(np.int64)
    return labels, test[[f"p_{name}" for name in classes]].to_numpy()


def measure_run(table: pd.DataFrame, classes: Sequence[str], settings: EvaluateSettings) -> dict[str, Any]:
    """The metrics that the settings name, then BY_CLASS, where a class with an undefined value is left out.

    Args:
        table: predictions of one run, columns as `predict_file` gives them; only test images count.
        classes: in the order of the probabilities.
        settings: which metrics, and the bins of the calibration error.
    """
    test = _test_rows(table, classes)
    found: dict[str, Any] = measure_scalars((name for name in settings.metrics if name != ECE), *test)
    found[ECE] = expected_calibration_error(*test, bins=settings.calibration_bins)
    scalars = {KEYS.get(name, name): found[name] for name in settings.metrics if name in found}
    return scalars | {name: _by_class(metric(*test), classes) for name, metric in BY_CLASS.items()}


def _by_class(values: np.ndarray[Any, Any], classes: Sequence[str]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(classes, values, strict=True) if not np.isnan(value)}


def _write_confusion(path: Path, table: pd.DataFrame, classes: Sequence[str]) -> None:
    """Counts on test images: row the true class, column the predicted one."""
    counts = confusion_matrix(*_test_rows(table, classes))
    frame = pd.DataFrame(counts, index=pd.Index(list(classes), name="true"), columns=list(classes))
    frame.to_csv(path, lineterminator="\n")


if __name__ == "__main__":
    evaluate.main()
