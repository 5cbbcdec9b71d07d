"""The runs of the study as `evaluate` left them."""

from __future__ import annotations

from itertools import product

import pandas as pd

from components.base.run_id import RunId
from components.statistics.runs import Run
from flows.settings.study import Paths, Study
from flows.stage_io.files import existing

EVERY_RUN = "for every run of study (params.yaml)"


def read_runs(study: Study, paths: Paths) -> list[Run]:
    """Every run with its predictions on val and test alone, by protocol, arm and seed."""
    order = product(study.protocols, study.arms, study.seeds)
    return [read_run(RunId(arm, protocol, seed), paths) for protocol, arm, seed in order]


def read_run(run: RunId, paths: Paths) -> Run:
    """One run with its predictions, without curve, summary or metrics.

    Raises:
        DataError: where `evaluate` left no predictions.
    """
    path = paths.predictions / f"{run}.parquet"
    table = pd.read_parquet(existing(path, f"{EVERY_RUN}; dvc repro evaluate makes it"))
    return Run(run, table)
