"""A fresh clone as a run found it: the commit, what the code had beyond it, its params.yaml, the same data.

No result is shared: the clone has a DVC cache of its own, empty, and an MLflow database of its own. Data that DVC keeps
are fetched in the version that the clone's `.dvc` file names; other data are read where they lie, once their md5 is
the one that the run recorded.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.base.errors import RunError
from flows.orchestration.graph import cache_folder, hash_path
from flows.orchestration.processes import venv_path
from flows.presets import edit
from flows.settings import PARAMS, read_yaml
from flows.tracking.environment import DIFF
from flows.tracking.lineage import LOCK

PLACE = Path("data/reproduced")  # git ignores it
REMOTE = "former"  # the first checkout's cache, as the clone's DVC calls it


@dataclass
class Workspace:
    """The clone, and what a person must know about it."""

    root: Path
    notes: list[str] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)  # a data set's path here -> what the run called it


def choose_folder(into: Path | None, run_id: str) -> Path:
    """`into`, which must be empty, or a new one under data/reproduced."""
    if into is not None:
        if into.exists() and (not into.is_dir() or any(into.iterdir())):
            raise RunError(f"--into {into}: is not empty; name a new folder, a run is made again from nothing")
        return into.resolve()
    base = PLACE / run_id[:8]
    names = (base if number == 1 else base.with_name(f"{base.name}-{number}") for number in range(1, 1000))
    return next(path for path in names if not path.exists()).resolve()


def clone(repo: Path, commit: str, root: Path) -> Workspace:
    """The repository at a commit, with the branches that settings may name, and without any result."""
    known = subprocess.run(
        ["git", "cat-file", "-e", f"{commit}^{{commit}}"], cwd=repo, capture_output=True, check=False
    )
    if known.returncode != 0:
        raise RunError(
            f"commit {commit} of the run is not in this repository: fetch it (git fetch --all), or run this there"
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    _git(root.parent, "clone", "--quiet", "--no-checkout", "--shared", str(repo), str(root))
    _git(root, "checkout", "--quiet", "--detach", commit)
    _git(root, "fetch", "--quiet", "origin", "+refs/heads/*:refs/heads/*")
    (root / LOCK).unlink(missing_ok=True)  # what is recorded there is what has to be shown
    config = f"[cache]\n    dir = cache\n['remote \"{REMOTE}\"']\n    url = {cache_folder(repo).parents[1]}\n"
    (root / ".dvc" / "config.local").write_text(config)
    return Workspace(root)


def apply_changes(workspace: Workspace, diff: bytes | None, sha256: str, where: str) -> None:
    """What the code had beyond the commit; RunError where the diff is lost or does not fit."""
    if sha256 == "none":
        return
    if diff is None or hashlib.sha256(diff).hexdigest() != sha256:
        raise RunError(f"{where}: the artifact {DIFF} is missing or is not what was recorded (sha256 {sha256})")
    _git(workspace.root, "apply", "--whitespace=nowarn", "-", given=diff)
    changed = [line.split()[-1] for line in diff.decode(errors="replace").splitlines() if line.startswith("diff --git")]
    names = ", ".join(name.removeprefix("b/") for name in changed)
    workspace.notes.append(f"code beyond the commit was applied from the run's {DIFF}: {names}")


def supply_data(workspace: Workspace, repo: Path, recorded: Mapping[str, str]) -> None:
    """Put the data sets of the settings where the clone looks for them; `recorded` is path -> the run's md5.

    params.yaml is read unchecked: an older one need not keep today's rules.
    """
    settings: Any = read_yaml(workspace.root / PARAMS)
    places = [("dataset.path", settings["dataset"]["path"])]
    cohorts = settings.get("external") or []
    places += [(f"external.{row}.dataset.path", cohort["dataset"]["path"]) for row, cohort in enumerate(cohorts)]
    for key, path in places:
        if path != settings["paths"]["synthetic"]:  # which the graph itself draws
            _supply(workspace, repo, key, Path(path), recorded.get(path))
    for path in _files_beside(settings):
        if not path.is_absolute() and (repo / path).exists() and not (workspace.root / path).exists():
            _link(workspace.root / path, repo / path)


def _supply(workspace: Workspace, repo: Path, key: str, path: Path, wanted: str | None) -> None:
    """Where the data lie as they were, they are read there; else DVC may keep that version."""
    pointer = _pointer(workspace.root, path)
    here = hash_path(repo, path)
    if here is not None and (here == wanted or (wanted is None and pointer is None)):
        _read_in_place(workspace, repo, key, path, pointer)
    elif pointer is not None:
        _pull(workspace.root, pointer, path)
        here = hash_path(workspace.root, path)
    if wanted is None:
        workspace.notes.append(f"{path}: which version the run read is not recorded; it is {here} now")
    elif here is None:
        raise RunError(f"{path}: the data set of the run (md5 {wanted}) is not here; put it there ({key}, params.yaml)")
    elif here != wanted:
        mend = f"and DVC keeps md5 {here} as {pointer.name}" if pointer else "and DVC does not keep it (no .dvc file)"
        raise RunError(
            f"{path}: other data: the run read md5 {wanted}, here is md5 {here}, {mend}; put that version there"
        )


def _read_in_place(workspace: Workspace, repo: Path, key: str, path: Path, pointer: Path | None) -> None:
    """Nothing is copied; a path that leads out of the repository leads elsewhere from here, and is written absolute."""
    place = (repo / path).resolve()
    if path.is_absolute() or (workspace.root / path).resolve() == place:
        return
    if ".." in path.parts:
        params = workspace.root / PARAMS
        params.write_text(edit(params.read_text(), f"{key}={place}"))
        workspace.moved[str(place)] = str(path)
        workspace.notes.append(f"{key} is written absolute there: {path} leads elsewhere from a clone")
        return
    if pointer is not None:
        pointer.unlink()  # else DVC would take the link for an output of its own, and relink what lies behind it
    _link(workspace.root / path, place)


def _pointer(root: Path, path: Path) -> Path | None:
    """The `.dvc` file that a path stands under, if any."""
    if path.is_absolute() or ".." in path.parts:
        return None
    found = (root / part.with_name(f"{part.name}.dvc") for part in (path, *path.parents) if part.name)
    return next((file for file in found if file.exists()), None)


def _pull(root: Path, pointer: Path, path: Path) -> None:
    """From the first checkout's cache, else from the team's remote."""
    for remote in (["--remote", REMOTE], []):
        command = [sys.executable, "-m", "dvc", "pull", "--quiet", *remote, str(pointer.relative_to(root))]
        done = subprocess.run(
            command, cwd=root, env={**os.environ, "PATH": venv_path()}, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return
    raise RunError(
        f"{path}: DVC has the version that {pointer.name} names neither in this checkout's cache nor in a remote; "
        f"fetch it here with `dvc fetch {pointer.relative_to(root)}` first:\n{done.stderr.strip()[-1000:]}"
    )


def _files_beside(settings: Any) -> Iterator[Path]:
    """Files outside git that settings name; the stages check what is in them."""
    named = [arm.get("file") for arm in settings["pretrain"]["arms"].values()]
    yield from (Path(name) for name in [*named, settings["validate"].get("reference")] if name)


def _link(path: Path, place: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(place)


def _git(folder: Path, *arguments: str, given: bytes | None = None) -> None:
    done = subprocess.run(["git", *arguments], cwd=folder, input=given, capture_output=True, check=False)
    if done.returncode != 0:
        raise RunError(f"git {arguments[0]} in {folder} failed: {done.stderr.decode(errors='replace').strip()}")
