"""Run a stage with everything upstream, or the whole flow, in the clone."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from mlflow.tracking import MlflowClient

from components.base.environment import THREADS_VARIABLE, first_number, narrowed_threads
from flows.orchestration.graph import Node
from flows.orchestration.processes import DVC_HINTS, Processes, venv_path
from flows.reproduction.differences import ValueDifference, differing_values
from flows.reproduction.original_run import OriginalRun
from flows.reproduction.workspace import Workspace
from flows.tracking.environment import THREADS_TAG
from flows.tracking.mlflow_log import FLOW_VARIABLE, MLRUNS, PARENT_VARIABLE, PIPELINE, search_runs

RERUN_LOG = Path("reproduction.log")


def rerun(original: OriginalRun, workspace: Workspace, target: Node | None, echo: Callable[[str], None]) -> None:
    """Run `dvc repro` of a stage with everything upstream, or the flow for None; output goes to reproduction.log.

    Where it is stopped or fails, all its processes are stopped, and the workspace is kept.
    """
    repro = [sys.executable, "-m", "dvc", "repro", "--no-run-cache", target.address if target else ""]
    command = repro if target else [sys.executable, "-m", "flows.pipeline"]
    echo(f"running {target.address if target else 'all stages'} with all upstream in {workspace.root}")
    with (workspace.root / RERUN_LOG).open("w") as log:

        def write_line(line: str) -> None:
            print(line, file=log, flush=True)
            if line.strip() and not line.strip().startswith(DVC_HINTS):
                echo(f"  {line}")

        try:
            Processes().run(
                target.address if target else PIPELINE, command, environment=_environment(original, workspace),
                deadline_s=threading.TIMEOUT_MAX, on_line=write_line, folder=workspace.root,
            )  # fmt: skip
        except BaseException:
            echo(f"the workspace is kept: {workspace.root}")
            raise


def _environment(original: OriginalRun, workspace: Workspace) -> dict[str, str]:
    """The clone's own code and MLflow database, and as many threads as the original run had.

    The database is the clone's even where MLFLOW_TRACKING_URI names a server: on it, the runs would be mixed with those
    that they are compared with. Where the person's environment allows fewer threads, a note says so.
    """
    path = [str(workspace.root), *filter(None, [os.environ.get("PYTHONPATH")])]
    wanted = first_number(original.tags.get(THREADS_TAG, "")) or int(workspace.settings["compute"]["threads"])
    threads = narrowed_threads(wanted, os.environ)
    if first_number(threads[THREADS_VARIABLE]) != wanted:
        workspace.notes.append(
            f"{THREADS_VARIABLE} was {wanted}, and this environment allows {threads[THREADS_VARIABLE]}: another number "
            "of threads gives other last bits"
        )
    return {
        "PATH": venv_path(),
        "PYTHONPATH": os.pathsep.join(path),
        **threads,
        "MLFLOW_TRACKING_URI": _database(workspace),
        PARENT_VARIABLE: "",
        FLOW_VARIABLE: "",
    }


def _database(workspace: Workspace) -> str:
    return f"sqlite:///{workspace.root / MLRUNS}/mlflow.db"


def differing_weights(original: OriginalRun, workspace: Workspace, target: Node) -> list[ValueDifference]:
    """Differences of the sha256 of weights that trainings log as MLflow tags."""
    query = f"tags.stage = '{target.kind}' and tags.item = '{original.tags.get('item', '')}'"
    then = {key: value for key, value in original.tags.items() if key.endswith("sha256")}
    runs = search_runs(MlflowClient(_database(workspace)), query, limit=1)
    now = runs[0].data.tags if runs else {}
    return differing_values(then, {key: now.get(key) for key in then})
