"""What one fine-tuning run produced, and the checks that all arms ran under identical conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.base.errors import DataError
from components.base.run_id import FinetuneProtocol, RunId

FINGERPRINTS = {
    "settings_sha256": "every setting: schedule, optimiser, loss, head, augmentation, choice of the epoch",
    "train_index_sha256": "which train images with which labels, in which order",
    "val_index_sha256": "which val images with which labels, in which order",
    "head_init_sha256": "the head's first weights",
    "batches_sha256": "the order of batches",
    "augmentation_sha256": "the draws of the augmentation",
    "computation_sha256": "number format, kind and number of devices, images computed at once",
    "code_sha256": "the code of the training",
}
"""What must be equal for all arms of one protocol and seed, and what each fingerprint is of."""

SAME_ARCHITECTURE = ("head_init_sha256", "computation_sha256")
"""Of FINGERPRINTS: must be equal only for arms with one architecture. The head's shape depends on the number of
features (the draw itself is the same function of shape and seed), and an architecture has the number format that suits
it."""

DESCRIBED = {"settings_sha256": "settings", "computation_sha256": "computation"}
"""Fingerprints whose content is in the summary too, and its key: lines `key = value`."""

ENCODER = "encoder_sha256"
"""Key of the hash of the encoder's weights before the training: what differs by design."""

REPEAT = "repeat both: dvc repro -f finetune (or finetune_subset)"


@dataclass(frozen=True)
class Run:
    """One fine-tuning run and what it produced; a stage that reads less leaves the other fields empty."""

    id: RunId
    predictions: pd.DataFrame
    """Images of val and test: image_id, group, split, label and a column p_CLASS each."""
    curve: pd.DataFrame = field(default_factory=pd.DataFrame, kw_only=True)
    """A row an epoch, columns of curves/finetune."""
    summary: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    """Of metrics/finetune: first, last and best epoch, architecture, hash of the encoder, fingerprints."""
    images: pd.DataFrame = field(default_factory=pd.DataFrame, kw_only=True)
    """Of epoch_losses: loss and predicted class of each train and val image after each epoch."""
    measured: Mapping[str, Any] = field(default_factory=dict, kw_only=True)
    """Of metrics/evaluate: metrics on test images."""

    @property
    def name(self) -> str:
        """As files and MLflow name the run."""
        return str(self.id)

    @property
    def arm(self) -> str:
        """The pretraining whose encoder the run starts from."""
        return self.id.arm

    @property
    def protocol(self) -> FinetuneProtocol:
        """Which part of the network learns."""
        return self.id.protocol

    @property
    def seed(self) -> int:
        """Of pretraining, head, batches and augmentation."""
        return self.id.seed


@dataclass(frozen=True)
class Images:
    """The images of one split, in the order of their names."""

    names: npt.NDArray[Any]  # (N,)
    labels: npt.NDArray[np.intp]  # (N,) index of the class
    groups: npt.NDArray[Any]  # (N,) lesion or patient


def check_conditions(runs: Iterable[Run]) -> dict[str, dict[str, str]]:
    """Fingerprints by `RunId.conditions`, proven equal for all arms; of SAME_ARCHITECTURE those of the first arm.

    Raises:
        DataError: names two runs that differ, or a run without a fingerprint.
    """
    found: dict[str, dict[str, str]] = {}
    first_with: dict[tuple[str, str, str], tuple[Run, str]] = {}
    for run in runs:
        mine = {key: _fingerprint(run, key) for key in FINGERPRINTS}
        found.setdefault(run.id.conditions, mine)
        for key, value in mine.items():
            among = str(run.summary.get("architecture")) if key in SAME_ARCHITECTURE else ""
            first, expected = first_with.setdefault((run.id.conditions, key, among), (run, value))
            if value != expected:
                raise DataError(
                    f"finetune runs {first.name} and {run.name} differ in {key} ({expected[:12]} and "
                    f"{value[:12]}{_differing_settings(first, run, key)}): {FINGERPRINTS[key]} must be equal for all "
                    f"arms{' of one architecture' * bool(among)}; {REPEAT}"
                )
    return found


def encoders(runs: Iterable[Run]) -> dict[str, dict[str, str]]:
    """What differs by design: the sha256 of each encoder's weights, by `RunId.conditions` and arm.

    Raises:
        DataError: names a run without it.
    """
    found: dict[str, dict[str, str]] = {}
    for run in runs:
        found.setdefault(run.id.conditions, {})[run.arm] = _fingerprint(run, ENCODER)
    return found


def architectures(runs: Iterable[Run]) -> dict[str, str]:
    """The architecture of each arm's encoder, `kind timm, name convnext_atto`; without arms that state none."""
    stated = {run.arm: run.summary["architecture"] for run in runs if run.summary.get("architecture")}
    return {arm: ", ".join(f"{key} {value}" for key, value in each.items()) for arm, each in stated.items()}


def _differing_settings(first: Run, second: Run, key: str) -> str:
    """`; finetune.patience: 3 and 9` for each setting behind the fingerprint that differs."""
    sides = [_settings(run, DESCRIBED.get(key, "")) for run in (first, second)]
    names = [name for name in dict.fromkeys([*sides[0], *sides[1]]) if sides[0].get(name) != sides[1].get(name)]
    return "".join(f"; {name}: {sides[0].get(name, 'none')} and {sides[1].get(name, 'none')}" for name in names)


def _settings(run: Run, name: str) -> dict[str, str]:
    lines: Sequence[str] = run.summary.get(name, ())
    return dict(line.split(" = ", 1) for line in lines)


def _fingerprint(run: Run, key: str) -> str:
    if key not in run.summary:
        raise DataError(f"metrics of finetune run {run.name} lack {key}, expected a sha256; {REPEAT}")
    return str(run.summary[key])


def same_images(runs: Sequence[Run], split: str, classes: Sequence[str]) -> Images:
    """The split's images, checked to be the same in all runs.

    Raises:
        DataError: names a run that predicted other images.
    """
    tables = [split_rows(run, split, classes) for run in runs]
    first = tables[0]
    for run, table in zip(runs, tables, strict=True):
        if not table[["image_id", "label", "group"]].equals(first[["image_id", "label", "group"]]):
            raise DataError(
                f"predictions of {run.name} and {runs[0].name} hold different {split} images "
                f"({len(table)} and {len(first)}); repeat: dvc repro -f evaluate"
            )
    labels = pd.Categorical(first["label"], categories=list(classes)).codes.astype(np.intp)
    return Images(first["image_id"].to_numpy(), labels, first["group"].to_numpy(str))


def split_rows(run: Run, split: str, classes: Sequence[str]) -> pd.DataFrame:
    """The rows of one split sorted by image.

    Raises:
        DataError: where there are no rows, a class has no column or a label is no class.
    """
    table = run.predictions[run.predictions["split"] == split].sort_values("image_id", ignore_index=True)
    missing = [f"p_{name}" for name in classes if f"p_{name}" not in table]
    unknown = sorted(set(table["label"]) - set(classes))
    if missing or unknown or table.empty:
        raise DataError(
            f"predictions of {run.name}: {len(table)} {split} images, missing columns {missing}, unknown "
            f"labels {unknown}; expected the classes of labels.scheme {list(classes)}; repeat: dvc repro -f evaluate"
        )
    return table


def probabilities(run: Run, split: str, classes: Sequence[str]) -> npt.NDArray[Any]:
    """(N, K) class probabilities of one split's images, in the order of `Images`."""
    return split_rows(run, split, classes)[[f"p_{name}" for name in classes]].to_numpy(float)


def by_protocol(runs: Iterable[Run]) -> dict[FinetuneProtocol, dict[str, list[Run]]]:
    """Runs by protocol and arm: {protocol: {arm: runs}}, in the order given."""
    groups: dict[FinetuneProtocol, dict[str, list[Run]]] = {}
    for run in runs:
        groups.setdefault(run.protocol, {}).setdefault(run.arm, []).append(run)
    return groups
