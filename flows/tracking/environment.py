"""Code, settings and software versions that a run is recorded with, so that `dermflow reproduce` can repeat it."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.tracking import MlflowClient

from components.base.environment import CUDA_VARIABLE, THREADS_VARIABLE, cuda_entries
from components.base.errors import RunError
from flows.settings import PARAMS, Settings
from flows.tracking.git import find_commit, run_git
from flows.tracking.lineage import LOCK, file_md5, lock_bytes

ORIGIN_FOLDER = "origin"  # of a run's artifacts
CODE_DIFF, PACKAGES_FILE = "code.diff", "packages.txt"  # in that folder; `code.diff` is also the tag with its sha256
CODE = ("flows", "components", "dvc.yaml", "pyproject.toml", "requirements.lock")
NEW_CODE = ("flows", "components")  # files here that git does not track yet make results, too
POINTERS = "**/*.dvc"  # DVC's pointer files, which are named as a person named the data
REQUIREMENTS = Path("requirements.lock")
THREADS_TAG = "env.threads"
EXACT = {"core.quotePath": "true", "core.autocrlf": "false"}  # the same bytes under every user's configuration


def log_environment(client: MlflowClient, run_id: str, settings: Settings) -> dict[str, str]:
    """Log settings, dvc.lock, packages and changed code as artifacts in `origin/`.

    Returns:
        The run's tags: sha256 of the code changes ("none" without changes, "unknown" without a commit), and
        `environment_tags`.
    """
    diff = code_changes(settings)
    with TemporaryDirectory(prefix="dermflow-") as scratch:
        folder = Path(scratch)
        for file, content in ((PARAMS, PARAMS.read_bytes() if PARAMS.exists() else b""), (LOCK, lock_bytes())):
            if content:
                (folder / file.name).write_bytes(content)
        lines = [f"{name}=={version}\n" for name, version in installed_packages().items()]
        (folder / PACKAGES_FILE).write_text("".join(lines))
        if diff:
            (folder / CODE_DIFF).write_bytes(diff)
        client.log_artifacts(run_id, scratch, ORIGIN_FOLDER)
    without = "none" if find_commit(Path.cwd()).sha else "unknown"
    return {CODE_DIFF: hashlib.sha256(diff).hexdigest() if diff else without, **environment_tags()}


def code_changes(settings: Settings, *, code_alone: bool = False) -> bytes:
    """The changes of the checkout beyond its commit, as a git diff; empty where the commit is not known.

    Files that git does not track yet are included under flows/ and components/, and DVC's pointers to data. Settings
    and results are excluded, since they are recorded on their own. With `privacy.key: secret` the diff holds code
    alone: names and contents of other files, pointers included, stay on the host.

    Args:
        settings: of the checkout.
        code_alone: the same without a secret key.

    Raises:
        RunError: where git fails in a repository with a commit. A lost change would make the record of the run wrong.
    """
    if not find_commit(Path.cwd()).sha:
        return b""
    try:
        index = run_git("rev-parse", "--git-path", "index").decode().strip()
        return _diff(Path(index), *_scope(settings, code_alone or settings.privacy.key == "secret"))
    except RunError as error:
        raise RunError(f"the code changes beyond the commit cannot be recorded: {error}") from error


def _diff(index: Path, changed: list[str], untracked: list[str]) -> bytes:
    """Diff of the tracked files `changed` and the new files `untracked` (git pathspecs) against HEAD."""
    new = run_git("ls-files", "-z", "--others", "--exclude-standard", "--", *untracked).split(b"\0")
    with TemporaryDirectory(prefix="dermflow-") as scratch:
        copy = Path(scratch) / "index"  # new files are added to a copy: the index itself is the user's
        if index.exists():
            shutil.copyfile(index, copy)
        git = partial(run_git, config=EXACT, environment={"GIT_INDEX_FILE": str(copy)})
        names = [os.fsdecode(name) for name in new if name]
        if names:
            git("--literal-pathspecs", "add", "--intent-to-add", "--", *names)
        form = ("--binary", "--no-color", "--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/")
        return git("diff", *form, "HEAD", "--", *changed)


def _scope(settings: Settings, code_alone: bool) -> tuple[list[str], list[str]]:
    """Git pathspecs of the tracked files that count as code, and of the untracked ones."""
    if code_alone:
        no_pointer = f":(exclude,glob){POINTERS}"
        return [*CODE, no_pointer], [*NEW_CODE, no_pointer]
    return [".", *without_results(settings)], [*NEW_CODE, f":(glob){POINTERS}"]


def without_results(settings: Settings) -> list[str]:
    """Git pathspecs that exclude settings and results."""
    paths = settings.paths
    return [f":(exclude){path}" for path in (PARAMS, LOCK, paths.metrics, paths.curves, paths.reports)]


def environment_tags() -> dict[str, str]:
    """MLflow tags of what can change the last bits of a result; none of them identifies the machine."""
    found = installed_packages()
    known = {name: found.get(name, "none") for name in ("torch", "torchvision", "numpy", "pandas", "scipy")}
    return {
        "env.python": platform.python_version(),
        **{f"env.{name}": version for name, version in known.items()},
        "env.packages": hashlib.md5(repr(found).encode(), usedforsecurity=False).hexdigest(),
        "env.requirements.lock": file_md5(REQUIREMENTS) if REQUIREMENTS.exists() else "none",
        "env.platform": f"{platform.system()} {platform.machine()}",
        "env.cpu": _first_line("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "env.gpu": _gpu_models(),
        THREADS_TAG: os.environ.get(THREADS_VARIABLE) or str(count_cores()),  # all cores are OpenMP's default
    }


@cache
def installed_packages() -> dict[str, str]:
    """Distribution -> version of all installed packages, from folder names: reading metadata takes a second."""
    found: dict[str, str] = {}
    for place in sys.path:
        for folder in Path(place or ".").glob("*.dist-info"):
            name, _, version = folder.stem.partition("-")
            found.setdefault(name.lower().replace("_", "-"), version)
    return dict(sorted(found.items()))


def differing_packages(recorded: Iterable[str], installed: dict[str, str]) -> list[str]:
    """One sentence for each package whose version differs; `recorded` has lines `name==version`."""
    before = dict(line.strip().split("==", 1) for line in recorded if "==" in line)
    names = sorted(before.keys() | installed.keys())
    return [
        f"{name} {before.get(name, 'absent')} then, {installed.get(name, 'absent')} now"
        for name in names
        if before.get(name) != installed.get(name)
    ]


def count_cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a MIG part of one, that stages may use."""

    entry: str  # its entry in CUDA_VISIBLE_DEVICES
    uuid: str  # by which flows know the same GPU; its index where nvidia-smi does not say


def usable_gpus(device: str) -> list[Gpu]:
    """The GPUs that stages may use: those that nvidia-smi lists, of these the ones in CUDA_VISIBLE_DEVICES.

    As in CUDA, an entry that the host does not have ends the list. nvidia-smi is asked, since torch takes seconds.

    Args:
        device: the setting `compute.device`.
    """
    if device == "cpu":
        return []
    uuids, parts = _list_gpus()
    entries = cuda_entries(os.environ)
    if entries is None:
        entries = [str(index) for index in range(len(uuids))]
    usable: list[Gpu] = []
    for entry in entries if uuids else []:
        gpu = _find_gpu(entry, uuids, parts)
        if gpu is None:
            break
        usable.append(gpu)
    return usable


def count_gpus(device: str) -> int:
    """The number of `usable_gpus`."""
    return len(usable_gpus(device))


def unused_gpu_entries() -> str:
    """A sentence where this host has GPUs, but an entry of CUDA_VISIBLE_DEVICES names none of them; else empty."""
    text = os.environ.get(CUDA_VARIABLE, "").strip()
    usable = [gpu.entry for gpu in usable_gpus("auto")]
    if text in ("", "-1") or usable == [entry.strip() for entry in text.split(",")] or not _list_gpus()[0]:
        return ""
    return (
        f"{CUDA_VARIABLE} = {text!r}: used of it is {', '.join(usable) or 'nothing'}; CUDA ends the list at the first "
        "entry that `nvidia-smi -L` does not list, and uses nothing of a list with one entry twice"
    )


def _list_gpus() -> tuple[list[str], list[str]]:
    """The uuids of the host's GPUs by index, "" where nvidia-smi does not say, and those of their MIG parts."""
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return [], []
    lines = [line.strip() for line in listing.splitlines()]
    return [_uuid(line) for line in lines if line.startswith("GPU ")], [
        _uuid(line) for line in lines if line.startswith("MIG ")
    ]


def _find_gpu(entry: str, uuids: list[str], parts: list[str]) -> Gpu | None:
    """The GPU that an entry of CUDA_VISIBLE_DEVICES names: an index, or the beginning of a uuid."""
    if entry.isdecimal():
        return Gpu(entry, uuids[int(entry)] or entry) if int(entry) < len(uuids) else None
    if entry.startswith("MIG-GPU-"):  # of drivers before 470: the uuid of the GPU, then numbers of the parts
        return Gpu(entry, entry)
    known = parts if entry.startswith("MIG-") else uuids
    if not any(known):  # an nvidia-smi that lists no uuids of this kind cannot say that this one is wrong
        return Gpu(entry, entry)
    return next((Gpu(entry, uuid) for uuid in known if uuid.startswith(entry)), None)


def _uuid(line: str) -> str:
    """The uuid in a line of `nvidia-smi -L`, such as `GPU 0: NVIDIA H100 (UUID: GPU-5f...)`; empty without one."""
    return line.rpartition("(UUID: ")[2].rstrip(") ") if "(UUID: " in line else ""


def _gpu_models() -> str:
    """GPU models from the driver's files: torch or nvidia-smi would take seconds in every stage."""
    files = sorted(Path("/proc/driver/nvidia/gpus").glob("*/information"))
    return ", ".join(_first_line(str(file), "Model") for file in files) or "none"


def _first_line(file: str, key: str) -> str:
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
