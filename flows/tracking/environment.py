"""What a run keeps of where it came from, so that it can be made again: code beside the commit, settings, versions."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.tracking import MlflowClient

from components.base.errors import RunError
from flows.settings import PARAMS, Settings
from flows.tracking.lineage import LOCK, file_md5, lock_bytes

FOLDER = "origin"  # among a run's artifacts
DIFF, PACKAGES = "code.diff", "packages.txt"
CODE = ("flows", "components", "dvc.yaml", "pyproject.toml", "requirements.lock")
POINTERS = "**/*.dvc"  # DVC's, named as a person named the data
NEW = ("flows", "components")  # git knows nothing of these files yet, and they make results
REQUIREMENTS = Path("requirements.lock")
THREADS_VARIABLE, THREADS = "OMP_NUM_THREADS", "env.threads"


def keep_origin(client: MlflowClient, run_id: str, settings: Settings) -> dict[str, str]:
    """Keep settings, lock, packages and changed code as artifacts; return the tags that say what they are."""
    diff = code_changes(settings)
    with TemporaryDirectory(prefix="dermflow-") as scratch:
        folder = Path(scratch)
        for file, content in ((PARAMS, PARAMS.read_bytes() if PARAMS.exists() else b""), (LOCK, lock_bytes())):
            if content:
                (folder / file.name).write_bytes(content)
        (folder / PACKAGES).write_text("".join(f"{name}=={version}\n" for name, version in packages().items()))
        if diff:
            (folder / DIFF).write_bytes(diff)
        client.log_artifacts(run_id, scratch, FOLDER)
    return {DIFF: hashlib.sha256(diff).hexdigest() if diff else "none", **environment()}


def code_changes(settings: Settings) -> bytes:
    """What the checkout has beyond the commit, as git's diff; settings and results stand elsewhere. Empty without git.

    New files count under flows/ and components/ alone, and DVC's pointers to data. With data of one's own it is code
    and no pointer: what other files are called, and what is in them, stays on the host.
    """
    try:
        index = _git("rev-parse", "--git-path", "index").decode().strip()
        _git("rev-parse", "--verify", "--quiet", "HEAD")
    except (OSError, RunError):  # no git, no repository, no commit
        return b""
    changed, untracked = _scope(settings)
    new = _git("ls-files", "-z", "--others", "--exclude-standard", "--", *untracked).split(b"\0")
    with TemporaryDirectory(prefix="dermflow-") as scratch:
        given = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}  # the real one is the person's
        if Path(index).exists():
            shutil.copyfile(index, given["GIT_INDEX_FILE"])
        names = [os.fsdecode(name) for name in new if name]
        if names:
            _git("--literal-pathspecs", "add", "--intent-to-add", "--", *names, **given)
        plain = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
        return _git("diff", *plain, "HEAD", "--", *changed, **given)


def _scope(settings: Settings) -> tuple[list[str], list[str]]:
    """Git's patterns of the known files that count, and of the new ones."""
    if settings.privacy.key == "secret":
        no_pointer = f":(exclude,glob){POINTERS}"
        return [*CODE, no_pointer], [*NEW, no_pointer]
    paths = settings.paths
    results = [PARAMS, LOCK, paths.metrics, paths.curves, paths.reports]
    return [".", *(f":(exclude){path}" for path in results)], [*NEW, f":(glob){POINTERS}"]


def _git(*arguments: str, **variables: str) -> bytes:
    """Git's answer to the byte; RunError with what git says, as a lost change would make the run another one."""
    command = ["git", "-c", "core.quotePath=true", "-c", "core.autocrlf=false", *arguments]
    done = subprocess.run(command, capture_output=True, check=False, env={**os.environ, **variables})
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise RunError(f"git {' '.join(arguments[:2])} failed, so what the code has beyond the commit is lost: {said}")
    return done.stdout


def environment() -> dict[str, str]:
    """Tags of what results may depend on in their last bits, and nothing that names the machine."""
    found = packages()
    known = {name: found.get(name, "none") for name in ("torch", "torchvision", "numpy", "pandas", "scipy")}
    return {
        "env.python": platform.python_version(),
        **{f"env.{name}": version for name, version in known.items()},
        "env.packages": hashlib.md5(repr(found).encode(), usedforsecurity=False).hexdigest(),
        "env.requirements.lock": file_md5(REQUIREMENTS) if REQUIREMENTS.exists() else "none",
        "env.platform": f"{platform.system()} {platform.machine()}",
        "env.cpu": _first_line("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "env.gpu": _gpus(),
        THREADS: os.environ.get(THREADS_VARIABLE) or str(_cores()),
    }


@cache
def packages() -> dict[str, str]:
    """Distribution -> version of everything installed here, by the folders' names: metadata would cost a second."""
    found: dict[str, str] = {}
    for place in sys.path:
        for folder in Path(place or ".").glob("*.dist-info"):
            name, _, version = folder.stem.partition("-")
            found.setdefault(name.lower().replace("_", "-"), version)
    return dict(sorted(found.items()))


def differing(then: Iterable[str], now: dict[str, str]) -> list[str]:
    """Packages of another version than the lines `name==version` say."""
    before = dict(line.strip().split("==", 1) for line in then if "==" in line)
    names = sorted(before.keys() | now.keys())
    return [
        f"{name} {before.get(name, 'absent')} then, {now.get(name, 'absent')} now"
        for name in names
        if before.get(name) != now.get(name)
    ]


def _first_line(file: str, key: str) -> str:
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


def _cores() -> int:
    """What OpenMP takes where nothing is said."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpus() -> str:
    """Models by the driver's own files: asking torch or nvidia-smi would cost seconds a stage."""
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return ", ".join(_first_line(str(file), "Model") for file in files) or "none"
