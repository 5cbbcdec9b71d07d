"""The runs of the study, as earlier stages wrote them."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from components.base.errors import DataError
from components.base.run_id import RunId
from components.statistics.runs import Run
from flows.settings.study import Paths, Study
from flows.stage_io.files import existing, read_json

EVERY_RUN = "for every run of study (params.yaml)"


def read_runs(study: Study, paths: Paths) -> list[Run]:
    """Every run with its predictions on val and test alone, by protocol, arm and seed."""
    order = product(study.protocols, study.arms, study.seeds)
    return [read_run(RunId(arm, protocol, seed), paths) for protocol, arm, seed in order]


def read_run(run: RunId, paths: Paths) -> Run:
    """One run with its predictions alone.

    Raises:
        DataError: where `evaluate` wrote no predictions.
    """
    path, *_ = files_of(run, paths)
    table = pd.read_parquet(existing(path, f"{EVERY_RUN}; dvc repro evaluate makes it"))
    return Run(run, table)


def read_complete_runs(study: Study, paths: Paths) -> list[Run]:
    """Every run with predictions, curve, results by image, summary and metrics, by protocol, arm and seed.

    Raises:
        DataError: where a file of a run is missing, or evaluate.json lacks a run.
    """
    measured = read_json(paths.metrics / "evaluate.json")
    return [_complete(run, paths, measured) for run in read_runs(study, paths)]


def files_of(run: RunId, paths: Paths) -> tuple[Path, Path, Path, Path]:
    """Where a run's predictions, curve, results by image and summary are."""
    return (
        paths.predictions / f"{run}.parquet",
        paths.curves / "finetune" / f"{run}.csv",
        paths.epoch_losses / f"{run}.parquet",
        paths.metrics / "finetune" / f"{run}.json",
    )


def _complete(run: Run, paths: Paths, measured: dict[str, Any]) -> Run:
    if run.name not in measured:
        raise DataError(
            f"{paths.metrics / 'evaluate.json'} lacks {run.name}, has {sorted(measured)}; dvc repro evaluate"
        )
    _, curve, images, summary = files_of(run.id, paths)
    expected = f"{EVERY_RUN}; dvc repro finetune makes it"
    return replace(
        run,
        curve=pd.read_csv(existing(curve, expected)),
        images=pd.read_parquet(existing(images, expected)),
        summary=read_json(summary),
        measured=measured[run.name],
    )
