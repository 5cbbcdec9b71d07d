"""One MLflow run for a training that was killed and started again, found by an id that is written before the run.

The id is stored next to the resume state, in mlflow.json. Where that folder is deleted or set aside, a new run begins.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from components.base.errors import RunError
from components.base.files import write_text

IDS_FILE = "mlflow.json"
TRAINING_TAG = "training"  # tag of the MLflow run: its training id


@dataclass(frozen=True)
class ResumableRun:
    """A training that can continue in the MLflow run of an earlier process."""

    folder: Path  # of the resume state
    fingerprint: str  # sha256 of settings and data

    def find_run(self, client: MlflowClient, experiment: str) -> Run | None:
        """The MLflow run to resume: its process was killed before it closed the run, or a resume state exists."""
        training_id = self._ids().get(self.fingerprint)
        run = _find(client, experiment, training_id) if training_id else None
        if run is None or run.info.status == "RUNNING" or any(self.folder.rglob("*.ckpt")):
            return run
        return None

    def begin(self, client: MlflowClient, experiment: str) -> str:
        """The training id of a new run, on disk before the run is created.

        Runs of other settings in this folder that still have the status RUNNING become KILLED.
        """
        ids = self._ids()
        for training_id in ids.values():
            run = _find(client, experiment, training_id)
            if run is not None and run.info.status == "RUNNING":
                client.set_terminated(run.info.run_id, "KILLED")
        ids[self.fingerprint] = uuid4().hex
        write_text(self.folder / IDS_FILE, json.dumps(ids, indent=2) + "\n")
        return ids[self.fingerprint]

    def _ids(self) -> dict[str, str]:
        """Fingerprint -> training id of every run that began in this folder."""
        path = self.folder / IDS_FILE
        return dict(json.loads(path.read_text())) if path.exists() else {}


def fingerprint(settings: Mapping[str, object]) -> str:
    """Sha256 of settings, which does not depend on the order of their keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _find(client: MlflowClient, experiment: str, training_id: str) -> Run | None:
    found = client.search_runs([experiment], f"tags.{TRAINING_TAG} = '{training_id}'", max_results=1)
    return found[0] if found else None


def logged_points(client: MlflowClient, run: Run) -> set[tuple[str, int]]:
    """Name and step of every metric value that the run holds."""
    return {
        (name, point.step) for name in run.data.metrics for point in client.get_metric_history(run.info.run_id, name)
    }


@contextmanager
def lock_training(folder: Path) -> Iterator[None]:
    """Hold the lock of a resume state's folder: two processes would overwrite each other's state.

    The lock of a killed process is free.

    Raises:
        RunError: where another process holds the lock.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    try:
        with FileLock(path, timeout=0):
            yield
            path.unlink(missing_ok=True)
    except Timeout:
        raise RunError(
            f"another process trains {folder.parent.name}@{folder.name} here: wait for it or end it (`ps` shows it)"
        ) from None
