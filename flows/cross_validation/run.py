"""`dermflow crossvalidate run`: bring every fold up to date, up to its own comparison, then pool the folds."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from components.base.environment import narrowed_threads
from components.base.errors import RunError
from flows.cross_validation.pool import STAGE, TARGET, log_pooled
from flows.cross_validation.workspace import FOLDS, prepare_fold, remove_other_folds
from flows.orchestration.processes import DVC_HINTS, Processes, stop_on_sigterm, venv_path
from flows.reproduction.workspace import Workspace
from flows.settings import Settings, load_settings
from flows.tracking.mlflow_log import FLOW_VARIABLE, PARENT_VARIABLE, RunLog, recorded_run, tracking_uri

FEWEST = 3
"""Folds: one is test, one is val, and one is left to train."""

DEFAULT = 5
"""Folds where neither the command nor split.folds names a number."""


def run_folds(folds: int | None) -> list[str]:
    """Run the study once for each fold and pool the folds, as one MLflow run with the stages of all folds below it.

    Args:
        folds: their number; None for split.folds of params.yaml, or 5 where that is null.

    Returns:
        The answer in lines.

    Raises:
        RunError: where a fold fails, or another process runs folds here. Finished stages are kept: the same command
            continues.
    """
    repo, settings = Path.cwd(), load_settings()
    count = folds or settings.split.folds or DEFAULT
    if count < FEWEST:
        raise RunError(f"--folds is {count}, expected {FEWEST} or more: one fold is test, one is val, the others train")
    name = f"{STAGE} {settings.study.name}"
    with _only_one(repo), stop_on_sigterm(), recorded_run(settings, name, {"stage": STAGE}) as log:
        remove_other_folds(repo, count)
        for fold in range(count):
            log.line(f"fold {fold} of {count}: preparing")
            workspace = prepare_fold(repo, settings, count, fold)
            for note in workspace.notes:
                log.line(f"fold {fold}: {note}")
            _run_fold(workspace, fold, settings, log)
        return log_pooled(settings, repo, log)


@contextmanager
def _only_one(repo: Path) -> Iterator[None]:
    """Hold the lock of the folds of this checkout."""
    (repo / FOLDS).mkdir(parents=True, exist_ok=True)
    lock = FileLock(repo / FOLDS.with_suffix(".lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise RunError("another `dermflow crossvalidate run` works in this checkout: wait for it, or end it") from None
    try:
        yield
    finally:
        lock.release()


def _run_fold(workspace: Workspace, fold: int, settings: Settings, log: RunLog) -> None:
    """`dvc repro` of the fold's comparison with all upstream; what is up to date is skipped."""

    def write_line(line: str) -> None:
        if line.strip() and not line.strip().startswith(DVC_HINTS):
            log.line(f"fold {fold}: {line.strip()}")

    Processes().run(
        f"fold {fold}",
        [sys.executable, "-m", "dvc", "repro", TARGET],
        environment=_environment(workspace, settings, log),
        deadline_s=threading.TIMEOUT_MAX,
        on_line=write_line,
        folder=workspace.root,
    )


def _environment(workspace: Workspace, settings: Settings, log: RunLog) -> dict[str, str]:
    """The clone's own code, and the MLflow store of this checkout, where each stage is a child of this run."""
    path = [str(workspace.root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "PATH": venv_path(),
        "PYTHONPATH": os.pathsep.join(path),
        "MLFLOW_TRACKING_URI": tracking_uri(),
        PARENT_VARIABLE: log.run_id,
        FLOW_VARIABLE: "",
        **narrowed_threads(settings.compute.threads, os.environ),
    }
