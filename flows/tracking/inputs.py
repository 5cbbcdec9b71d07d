"""The data sets that a run reads, as its inputs in MLflow, with the md5 that DVC recorded."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from pathlib import Path

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.tracking import MlflowClient

from flows.settings import Settings
from flows.tracking.lineage import recorded_hashes

CONTEXT = "mlflow.data.context"
STUDY, EXTERNAL = "training", "external test"


def log_inputs(client: MlflowClient, run_id: str, settings: Settings, cohorts: Collection[str] = ()) -> None:
    """Log the study's data set and external test sets as inputs of a run, each once.

    Before the stage that reads a data set has run once, dvc.lock has no md5 of it, and it is not logged.

    Args:
        client: of the store.
        run_id: the run.
        settings: of the study.
        cohorts: names of the external test sets that the run reads.
    """
    hashes = {os.path.normpath(path): md5 for path, md5 in recorded_hashes().items()}
    read = [(settings.dataset.kind, settings.dataset.path, STUDY)]
    read += [(each.name, each.dataset.path, EXTERNAL) for each in settings.external if each.name in cohorts]
    known = _known(client, run_id)
    new = [
        _input(name, path, hashes[os.path.normpath(path)], context)
        for name, path, context in read
        if os.path.normpath(path) in hashes and (name, context) not in known
    ]
    if new:
        client.log_inputs(run_id, datasets=new)


def _known(client: MlflowClient, run_id: str) -> set[tuple[str, str]]:
    """Name and context of the inputs that a run has."""
    inputs = client.get_run(run_id).inputs
    return {
        (each.dataset.name, tag.value)
        for each in (inputs.dataset_inputs if inputs else ())
        for tag in each.tags
        if tag.key == CONTEXT
    }


def _input(name: str, path: Path, md5: str, context: str) -> DatasetInput:
    dataset = Dataset(name, md5[:36], "local", json.dumps({"uri": str(path)}))  # 36 characters are MLflow's limit
    return DatasetInput(dataset, [InputTag(CONTEXT, context)])
