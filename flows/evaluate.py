"""Predict val and test images with every classifier of the study; no stage before it opens test images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.base.files import whole
from components.base.log import Log
from components.data.labels import Labels
from components.data.lesion_mask import lesion_share
from components.models.backbone import Backbone
from components.statistics.metrics.accuracy import accuracy
from components.statistics.metrics.balanced_accuracy import balanced_accuracy
from components.statistics.metrics.confusion_matrix import confusion_matrix
from components.statistics.metrics.expected_calibration_error import expected_calibration_error
from components.statistics.metrics.log_loss import log_loss
from components.statistics.metrics.macro_auroc import macro_auroc
from components.statistics.metrics.sensitivity import sensitivity
from components.statistics.metrics.specificity import specificity
from components.training.examples import Examples
from flows.settings.analysis import Evaluate as EvaluateSettings
from flows.settings.study import Compute, Paths, Study
from flows.stage import stage
from flows.stage_io.predictions import predict_runs, read_examples, run_names

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


def _tell_of_others(folder: Path, runs: Sequence[str], log: Log) -> None:
    """Classifiers of an earlier study stay where they are, and count for nothing."""
    others = sorted({path.stem for path in folder.glob("*.safetensors")} - set(runs))
    if others:
        log.line(f"{folder}: {len(others)} classifiers are not of this study and are left out: {', '.join(others)}")


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
