"""A training that was killed and is started again is one MLflow run, found by a mark that is older than the run.

The mark stands beside the resume state and goes with it: who deletes the folder, or sets it aside, begins a new run.
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
from components.base.files import whole

MARKS = "mlflow.json"
TAG = "training"  # of the MLflow run: its mark


@dataclass(frozen=True)
class Training:
    """What a process works on, and whether an earlier one began it."""

    folder: Path  # of the resume state
    identity: str  # sha256 of settings and data

    def find_run(self, client: MlflowClient, experiment: str) -> Run | None:
        """The run to go on with: its process died without a word, or a resume state is there."""
        mark = self._marks().get(self.identity)
        run = _find(client, experiment, mark) if mark else None
        if run is None or run.info.status == "RUNNING" or any(self.folder.rglob("*.ckpt")):
            return run
        return None

    def begin(self, client: MlflowClient, experiment: str) -> str:
        """The mark for a new run, on disk before the run is made; runs of other settings here are over."""
        marks = self._marks()
        for mark in marks.values():
            run = _find(client, experiment, mark)
            if run is not None and run.info.status == "RUNNING":
                client.set_terminated(run.info.run_id, "KILLED")
        marks[self.identity] = uuid4().hex
        with whole(self.folder / MARKS) as unfinished:
            unfinished.write_text(json.dumps(marks, indent=2) + "\n")
        return marks[self.identity]

    def _marks(self) -> dict[str, str]:
        """Identity -> mark, of every run that was begun beside this resume state."""
        path = self.folder / MARKS
        return dict(json.loads(path.read_text())) if path.exists() else {}


def identify(settings: Mapping[str, object]) -> str:
    """A hash that is the same for the same settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _find(client: MlflowClient, experiment: str, mark: str) -> Run | None:
    found = client.search_runs([experiment], f"tags.{TAG} = '{mark}'", max_results=1)
    return found[0] if found else None


def points_of(client: MlflowClient, run: Run) -> set[tuple[str, int]]:
    """Name and step of every number that the run holds."""
    return {
        (name, point.step) for name in run.data.metrics for point in client.get_metric_history(run.info.run_id, name)
    }


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Hold a resume state's folder: two processes would spoil each other's state. A killed one holds nothing."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f".{folder.name}.lock")
    try:
        with FileLock(path, timeout=0):
            yield
            path.unlink(missing_ok=True)
    except Timeout:
        raise RunError(
            f"another process trains {folder.parent.name}@{folder.name} here: wait for it or end it (`ps` names it)"
        ) from None
