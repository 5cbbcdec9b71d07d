"""Is this machine fit for a run: each finding says what was seen and what to do where it is not good."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from components.base.errors import DermflowError, SettingsError
from flows.settings import load_settings


@dataclass(frozen=True)
class Finding:
    """One thing that a run needs, as it stands here."""

    what: str
    good: bool
    seen: str
    mend: str = ""


def examine(root: Path) -> list[Finding]:
    """Everything that a run needs, in the order in which it would fail."""
    return [_python(), _tools(root), _disk(root), _settings(), _data(), _mlflow(), _gpu()]


def _python() -> Finding:
    here = sys.version_info[:2]
    seen = f"{here[0]}.{here[1]}, prefect {version('prefect')}, dvc {version('dvc')}, mlflow {version('mlflow')}"
    return Finding("python", (3, 11) <= here < (3, 14), seen, "Python 3.11 to 3.13: make PYTHON=python3.11 setup")


def _tools(root: Path) -> Finding:
    missing = [tool for tool in ("git", "dvc") if not shutil.which(tool)]
    good = not missing and (root / ".dvc").is_dir()
    seen = f"missing {missing}" if missing else "git and dvc" if good else "no .dvc here"
    return Finding("tools", good, seen, "install git, activate .venv, and run in the repository's root")


def _disk(root: Path) -> Finding:
    free = shutil.disk_usage(root).free / 2**30
    try:
        probe = root / "data" / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        return Finding("disk", False, f"data/ cannot be written: {error.strerror}", "give this user the folder")
    return Finding("disk", free > 2, f"{free:.0f} GiB free, data/ can be written", "free 2 GiB at least")


def _settings() -> Finding:
    try:
        study = load_settings().study
    except SettingsError as error:
        return Finding("params.yaml", False, str(error), "mend the values named, or `dermflow use demo`")
    runs = len(study.arms) * len(study.protocols) * len(study.seeds)
    return Finding("params.yaml", True, f"study {study.name!r}, {runs} fine-tuning runs")


def _data() -> Finding:
    try:
        dataset = load_settings().dataset
    except SettingsError:
        return Finding("data set", False, "unknown while params.yaml is wrong", "mend params.yaml first")
    if dataset.kind == "synthetic" or Path(dataset.path).is_dir():
        return Finding("data set", True, f"{dataset.kind} at {dataset.path}")
    return Finding("data set", False, f"{dataset.path} is no folder", "set dataset.path (docs/your-data.md)")


def _mlflow() -> Finding:
    from flows.tracking.mlflow_log import open_client, tracking_uri

    try:
        experiments = open_client().search_experiments()
    except (DermflowError, OSError, Exception) as error:  # whatever a store or server answers is told
        return Finding("mlflow", False, f"{type(error).__name__}: {error}", "mend MLFLOW_TRACKING_URI or mlruns/")
    place = "a server" if not tracking_uri().startswith("sqlite") else "mlruns/mlflow.db"
    return Finding("mlflow", True, f"{place}, {len(experiments)} experiments")


def _gpu() -> Finding:
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return Finding("gpu", True, "none: training runs on the CPU")
    return Finding("gpu", True, f"{listing.count('GPU ')} found")
