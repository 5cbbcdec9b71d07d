"""The stages of a study up to its comparison, run for one fold in its clone."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from components.base.environment import narrowed_threads
from flows.cross_validation.workspace import prepare_fold
from flows.orchestration.processes import DVC_HINTS, Processes, refuse_survivors, venv_path
from flows.orchestration.repeated_study import FOLD, REPEATED, TARGET
from flows.orchestration.run_state import VARIABLE, StageState
from flows.settings import Settings, load_settings
from flows.tracking.mlflow_log import FLOW_VARIABLE, PARENT_VARIABLE, RunLog, end_orphans, tracking_uri


def repeat_study(folds: int, fold: int, log: RunLog) -> Path:
    """Bring the clone of a fold up to date, its comparison included; what is up to date there is skipped.

    Args:
        folds: their number.
        fold: that is tested.
        log: the run of the fold, whose children are the stages in the clone.

    Returns:
        The folder of the clone.

    Raises:
        RunError: where a stage fails, or a process of an earlier start still works in the clone; or where the code of
            this checkout changed in the meantime: DVC would record the new one.
    """
    repo, settings = Path.cwd(), load_settings()
    state = StageState(FOLD, sections=(), by_other_processes=True)  # the stage itself compares its settings
    workspace = prepare_fold(repo, settings, folds, fold)
    for note in workspace.notes:
        log.line(note)
    refuse_survivors(REPEATED, workspace.root)

    def write_line(line: str) -> None:
        if line.strip() and not line.strip().startswith(DVC_HINTS):
            log.line(line.strip())

    try:
        Processes().run(
            f"fold {fold}",
            [sys.executable, "-m", "dvc", "repro", TARGET],
            environment=_environment(workspace.root, settings, log),
            deadline_s=threading.TIMEOUT_MAX,  # the flow that started this stage has one
            on_line=write_line,
            folder=workspace.root,
        )
    finally:
        end_orphans(log)
    state.check()
    return workspace.root


def _environment(root: Path, settings: Settings, log: RunLog) -> dict[str, str]:
    """The clone's own code, and the MLflow store of this checkout, where each stage is a child of the fold's run.

    The state of the flow's run is that of this checkout, with which a stage in the clone must not compare its own.
    """
    path = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        "PATH": venv_path(),
        "PYTHONPATH": os.pathsep.join(path),
        "MLFLOW_TRACKING_URI": tracking_uri(),
        PARENT_VARIABLE: log.run_id,
        FLOW_VARIABLE: "",
        VARIABLE: "",
        **narrowed_threads(settings.compute.threads, os.environ),
    }
