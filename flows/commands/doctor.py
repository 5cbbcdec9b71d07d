"""Checks of this machine: what was found, and how to fix what prevents a run."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from components.base.environment import CUDA_VARIABLE
from components.base.errors import DermflowError, SettingsError
from flows.settings import load_settings

LONGEST_SETUP_S = 60.0
"""Seconds in which MLflow makes the tables of a new database."""


@dataclass(frozen=True)
class MachineCheck:
    """The result of one check."""

    what: str
    passed: bool
    found: str
    fix: str = ""  # what to do where the check failed


def examine(root: Path) -> list[MachineCheck]:
    """Checks of everything that a run needs, in the order in which it would fail.

    Args:
        root: the repository's root folder.
    """
    # MLflow is imported before threads begin: two that import it at the same time see parts of it
    import flows.tracking.mlflow_log  # noqa: F401

    with ThreadPoolExecutor() as pool:  # services that do not answer are waited for at the same time
        asked = [pool.submit(copy_context().run, check) for check in (_mlflow, _prefect)]
        here = [_python(), _environment(root), _tools(root), _git(root), _disk(root), _settings(), *_data(), _gpu()]
        return [*here, *(check.result() for check in asked)]


def _python() -> MachineCheck:
    here = sys.version_info[:2]
    found = f"{here[0]}.{here[1]}, prefect {version('prefect')}, dvc {version('dvc')}, mlflow {version('mlflow')}"
    return MachineCheck("python", (3, 11) <= here < (3, 14), found, "Python 3.11 to 3.13: make PYTHON=python3.11 setup")


def _environment(root: Path) -> MachineCheck:
    from flows.tracking.checkout import REBUILD, stale_environment

    stale = stale_environment(root)
    return MachineCheck(
        "environment", not stale, stale or f"{sys.prefix}, code of {root}", f"build it again: {REBUILD}"
    )


def _tools(root: Path) -> MachineCheck:
    missing = [tool for tool in ("git", "dvc") if not shutil.which(tool)]
    good = not missing and (root / ".dvc").is_dir()
    found = f"missing {missing}" if missing else "git and dvc" if good else "no .dvc here"
    return MachineCheck("tools", good, found, "install git, activate .venv, and run in the repository's root")


def _git(root: Path) -> MachineCheck:
    from flows.tracking.git import find_commit

    commit = find_commit(root)
    if commit.unknown:
        found = f"{commit.unknown}: {commit.found}; runs are recorded without a commit and cannot be repeated"
        return MachineCheck("commit", False, found, commit.fix)
    return MachineCheck("commit", True, commit.sha[:12])


def _disk(root: Path) -> MachineCheck:
    free = shutil.disk_usage(root).free / 2**30
    try:
        probe = root / "data" / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return MachineCheck(
            "disk", False, f"data/ cannot be written: {error.strerror}", "give this user write permission for data/"
        )
    return MachineCheck("disk", free > 2, f"{free:.0f} GiB free, data/ can be written", "free at least 2 GiB")


def _settings() -> MachineCheck:
    try:
        study = load_settings().study
    except SettingsError as error:
        return MachineCheck("params.yaml", False, str(error), "fix these values, or `dermflow use demo`")
    runs = len(study.arms) * len(study.protocols) * len(study.seeds)
    return MachineCheck("params.yaml", True, f"study {study.name!r}, {runs} fine-tuning runs")


def _data() -> list[MachineCheck]:
    """Whether the folders are there; the stages `ingest` and `ingest_external` read them before any training."""
    try:
        settings = load_settings()
    except SettingsError:
        return [MachineCheck("data set", False, "unknown while params.yaml is wrong", "fix params.yaml first")]
    dataset = settings.dataset
    study = dataset.kind == "synthetic" or dataset.path.is_dir()
    found = f"{dataset.kind} at {dataset.path}" if study else f"{dataset.path} is not a folder"
    checks = [MachineCheck("data set", study, found, "set dataset.path (docs/your-data.md)")]
    for name, path in ((each.name, each.dataset.path) for each in settings.external):
        found = f"{name} at {path}" if path.is_dir() else f"{name}: {path} is not a folder"
        fix = "set its dataset.path under external (params.yaml; docs/your-data.md), or take the set out"
        checks.append(MachineCheck("external test set", path.is_dir(), found, fix))
    return checks


def _mlflow() -> MachineCheck:
    """MLflow's store, whose database is made where there is none, and the study's experiment in it."""
    from flows.tracking.mlflow_log import find_experiment, mlruns_folder, open_client, tracking_uri
    from flows.tracking.services import DEADLINE_S, find_mlflow_problem, masked, within

    address = tracking_uri()
    problem = find_mlflow_problem(address, mlruns_folder())
    if problem:
        return MachineCheck("mlflow", False, f"{problem.place}: {problem.found}", problem.fix)

    def count_experiments() -> int:
        client = open_client()
        with contextlib.suppress(SettingsError):  # which have a check of their own
            find_experiment(client, load_settings().study.name)
        return len(client.search_experiments())

    limit = LONGEST_SETUP_S if address.startswith("sqlite") else DEADLINE_S
    found = within(limit, count_experiments)
    if isinstance(found, DermflowError):
        return MachineCheck("mlflow", False, str(found), "as said there")
    if isinstance(found, Exception):  # any failure of a store or server is a result of this check
        text = str(found) or type(found).__name__
        return MachineCheck("mlflow", False, f"{masked(address)}: {text}", "fix MLFLOW_TRACKING_URI or mlruns/")
    return MachineCheck("mlflow", True, f"{masked(address)}, {found} experiments")


def _prefect() -> MachineCheck:
    from prefect.settings import get_current_settings

    from flows.tracking.services import find_prefect_problem, masked

    problem = find_prefect_problem()
    if problem:
        return MachineCheck("prefect", False, f"{problem.place}: {problem.found}", problem.fix)
    address = get_current_settings().api.url
    found = f"{masked(address)} answers" if address else "each run starts a server of its own"
    return MachineCheck("prefect", True, found)


def _gpu() -> MachineCheck:
    from flows.tracking.environment import count_gpus, unused_gpu_entries

    if wrong := unused_gpu_entries():
        return MachineCheck("gpu", False, wrong, f"unset {CUDA_VARIABLE}, or list GPUs of `nvidia-smi -L` in it")
    gpus = count_gpus("auto")
    named = os.environ.get(CUDA_VARIABLE)
    allowed = "" if named is None else f" ({CUDA_VARIABLE} = {named!r})"
    return MachineCheck("gpu", True, f"{gpus} found{allowed}" if gpus else f"none{allowed}: training runs on the CPU")
