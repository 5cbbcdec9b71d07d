"""What one fine-tuning run left behind, and the proof that all arms ran under identical conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.base.errors import DataError

FINGERPRINTS = {
    "train_index_sha256": "which train images, in which order",
    "head_init_sha256": "the head's first weights",
    "batches_sha256": "the order of batches",
    "augmentation_sha256": "the draws of the augmentation",
}
"""What must be equal for all arms of one protocol and seed, and what each fingerprint is of."""

REPEAT = "repeat both: dvc repro -f finetune (or learn)"


@dataclass(frozen=True)
class Run:
    """One fine-tuning: an arm under a protocol with a seed."""

    arm: str
    protocol: str
    seed: int
    curve: pd.DataFrame  # a row an epoch, columns of curves/finetune
    summary: Mapping[str, Any]  # metrics/finetune: first, last, best, fingerprints
    predictions: pd.DataFrame  # val and test images
    measured: Mapping[str, Any]  # metrics/evaluate: on test images
    share: float = 1.0  # of the train lesions

    @property
    def name(self) -> str:
        """`<arm>-<protocol>-<seed>`, as its files are named; `-<share>` after it where it learned from a part."""
        return f"{self.arm}-{self.what_is_equal}"

    @property
    def what_is_equal(self) -> str:
        """The name without the arm: runs that share it differ in the encoder alone."""
        return f"{self.protocol}-{self.seed}" + (f"-{self.share}" if self.share < 1 else "")


@dataclass(frozen=True)
class Images:
    """The images of one split, in the order of their names."""

    names: npt.NDArray[Any]  # (N,)
    labels: npt.NDArray[np.intp]  # (N,) index of the class
    groups: npt.NDArray[Any]  # (N,) lesion or patient


def check_conditions(runs: Iterable[Run]) -> dict[str, dict[str, str]]:
    """`Run.what_is_equal` to fingerprints, proven equal for all arms; DataError names the two runs that differ."""
    found: dict[str, dict[str, str]] = {}
    for run in runs:
        mine = {key: _fingerprint(run, key) for key in FINGERPRINTS}
        first = found.setdefault(run.what_is_equal, {"run": run.name, **mine})
        for key, value in mine.items():
            if value != first[key]:
                raise DataError(
                    f"finetune runs {first['run']} and {run.name} differ in {key} ({first[key][:12]} and "
                    f"{value[:12]}): {FINGERPRINTS[key]} must be equal for all arms; {REPEAT}"
                )
    return {name: {key: prints[key] for key in FINGERPRINTS} for name, prints in found.items()}


def _fingerprint(run: Run, key: str) -> str:
    if key not in run.summary:
        raise DataError(f"metrics of finetune run {run.name} lack {key}, expected a sha256; {REPEAT}")
    return str(run.summary[key])


def same_images(runs: Sequence[Run], split: str, classes: Sequence[str]) -> Images:
    """The split's images, proven to be the same in all runs; DataError names a run with others."""
    tables = [select(run, split, classes) for run in runs]
    first = tables[0]
    for run, table in zip(runs, tables, strict=True):
        if not table[["image_id", "label", "group"]].equals(first[["image_id", "label", "group"]]):
            raise DataError(
                f"predictions of {run.name} and {runs[0].name} hold different {split} images "
                f"({len(table)} and {len(first)}); repeat: dvc repro -f evaluate"
            )
    labels = pd.Categorical(first["label"], categories=list(classes)).codes.astype(np.intp)
    return Images(first["image_id"].to_numpy(), labels, first["group"].to_numpy(str))


def select(run: Run, split: str, classes: Sequence[str]) -> pd.DataFrame:
    """The rows of one split sorted by image; DataError where there are none or a class has no column."""
    table = run.predictions[run.predictions["split"] == split].sort_values("image_id", ignore_index=True)
    missing = [f"p_{name}" for name in classes if f"p_{name}" not in table]
    unknown = sorted(set(table["label"]) - set(classes))
    if missing or unknown or table.empty:
        raise DataError(
            f"predictions of {run.name}: {len(table)} {split} images, missing columns {missing}, unknown "
            f"labels {unknown}; expected labels.classes {list(classes)}; repeat: dvc repro -f evaluate"
        )
    return table


def probabilities(run: Run, split: str, classes: Sequence[str]) -> npt.NDArray[Any]:
    """(N, K) class probabilities of one split's images, in the order of `Images`."""
    return select(run, split, classes)[[f"p_{name}" for name in classes]].to_numpy(float)


def by_protocol(runs: Iterable[Run]) -> dict[str, dict[str, list[Run]]]:
    """Runs by protocol and arm, in the order given."""
    sheets: dict[str, dict[str, list[Run]]] = {}
    for run in runs:
        sheets.setdefault(run.protocol, {}).setdefault(run.arm, []).append(run)
    return sheets
