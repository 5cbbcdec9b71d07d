"""A fresh clone in the state of the original run: its commit, code changes, params.yaml and data.

No result is shared: the clone has its own empty DVC cache and its own MLflow database. Data under DVC are fetched in
the version of the clone's `.dvc` file. Other data are read in place if they have the md5 that the run recorded.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.base.errors import RunError
from components.base.keys import flat_keys
from flows.orchestration.graph import cache_folder, hash_path
from flows.orchestration.processes import venv_path
from flows.presets import edit
from flows.reproduction.differences import differing_values
from flows.reproduction.original_run import OriginalRun
from flows.settings import PARAMS, read_yaml
from flows.tracking.environment import CODE_DIFF, ORIGIN_FOLDER
from flows.tracking.git import find_commit, has_commit, run_git
from flows.tracking.lineage import LOCK

CLONES = Path("data/reproduced")  # ignored by git
REMOTE = "original"  # the clone's DVC remote that is the cache of the original checkout
LEFT_OUT = "the code changes beyond the commit are left out (--without-changes)"


@dataclass
class Workspace:
    """The clone, and what the user must know about it."""

    root: Path
    notes: list[str] = field(default_factory=list)
    moved: dict[str, str] = field(default_factory=dict)  # a data set's path in the clone -> its path in the original

    @property
    def settings(self) -> Any:
        """Its params.yaml, not validated: one of an older version need not pass today's rules."""
        return read_yaml(self.root / PARAMS)

    @property
    def reports(self) -> Path:
        """The reports folder of the settings."""
        return Path(self.settings["paths"]["reports"])


def prepare(original: OriginalRun, repo: Path, *, into: Path | None, without_changes: bool) -> Workspace:
    """A clone with the code and settings of the original run.

    Args:
        original: the run to repeat.
        repo: the checkout that it was made in.
        into: folder of the clone; None for a new one in data/reproduced.
        without_changes: whether to leave out the code changes beyond the commit.

    Raises:
        RunError: where the commit or the code changes are not known, or `into` is not empty.
    """
    diff_sha256 = original.tags.get(CODE_DIFF, "none")
    lost = CODE_DIFF not in original.tags and original.tags.get("git.dirty") != "false"
    if lost and not without_changes:
        raise RunError(
            f"{original.label}: its code had changes beyond commit {original.tags['git.commit'][:12]} that were not "
            "recorded, since its version of Dermflow did not do so; --without-changes repeats it with the code of the "
            "commit and reports what differs"
        )
    workspace = clone(repo, original.tags["git.commit"], choose_folder(into, original.run.info.run_id))
    if not without_changes:
        diff = original.artifact(f"{ORIGIN_FOLDER}/{CODE_DIFF}") if diff_sha256 != "none" else None
        apply_changes(workspace, diff.read_bytes() if diff else None, diff_sha256, original.label)
    elif lost or diff_sha256 != "none":
        workspace.notes.append(LEFT_OUT)
    params = original.artifact(f"{ORIGIN_FOLDER}/{PARAMS.name}")
    if params is not None:
        shutil.copyfile(params, workspace.root / PARAMS)
    else:
        workspace.notes += [f"could not be restored: {line}" for line in _differing_settings(original, workspace)]
    return workspace


def _differing_settings(original: OriginalRun, workspace: Workspace) -> list[str]:
    """Settings whose value in MLflow is not that of the clone's params.yaml, each as a sentence."""
    now = {key: str(value)[:6000] for key, value in flat_keys(workspace.settings, ".").items()}
    then = {key: value for key, value in original.run.data.params.items() if key in now}
    return [
        f"{each.name} was {each.then}, params.yaml of the commit has {each.now}"
        for each in differing_values(then, {key: now[key] for key in then})
    ]


def choose_folder(into: Path | None, run_id: str) -> Path:
    """`into`, which must be new or empty, or a new folder in data/reproduced."""
    if into is not None:
        if into.exists() and (not into.is_dir() or any(into.iterdir())):
            raise RunError(
                f"--into {into}: is not an empty folder; choose a new one, since a run is repeated from nothing"
            )
        return into.resolve()
    base = CLONES / run_id[:8]
    names = (base if number == 1 else base.with_name(f"{base.name}-{number}") for number in range(1, 1000))
    return next(path for path in names if not path.exists()).resolve()


def clone(repo: Path, commit: str, root: Path, cache: Path | None = None) -> Workspace:
    """Clone the repository at a commit, without any result, and with all branches, which settings may name.

    Args:
        repo: the checkout to clone.
        commit: of the clone.
        root: its folder.
        cache: DVC's cache that it shares; None for an empty one of its own.
    """
    if (here := find_commit(repo)).unknown:
        raise RunError(f"no commit of this checkout can be read: {here.found}; {here.fix}")
    if not has_commit(repo, commit):
        raise RunError(
            f"commit {commit} of the run is not in this repository: fetch it (git fetch --all), or run this in the "
            "repository that has it"
        )
    root.parent.mkdir(parents=True, exist_ok=True)
    run_git("clone", "--quiet", "--no-checkout", "--shared", str(repo), str(root), folder=root.parent)
    run_git("checkout", "--quiet", "--detach", commit, folder=root)
    run_git("fetch", "--quiet", "origin", "+refs/heads/*:refs/heads/*", folder=root)
    (root / LOCK).unlink(missing_ok=True)  # the results recorded there are what the reproduction has to confirm
    config = (
        f"[cache]\n    dir = {cache or 'cache'}\n['remote \"{REMOTE}\"']\n    url = {cache_folder(repo).parents[1]}\n"
    )
    (root / ".dvc" / "config.local").write_text(config)
    return Workspace(root)


def apply_changes(workspace: Workspace, diff: bytes | None, sha256: str, label: str) -> None:
    """Apply the code changes beyond the commit.

    Args:
        workspace: the clone.
        diff: the run's artifact code.diff; None where it is missing.
        sha256: of the diff, as recorded; "none" for a run without changes.
        label: of the run, for messages.

    Raises:
        RunError: where the diff is missing, is not the recorded one, or cannot be applied.
    """
    if sha256 == "none":
        return
    if diff is None or hashlib.sha256(diff).hexdigest() != sha256:
        raise RunError(f"{label}: the artifact {CODE_DIFF} is missing or is not the recorded one (sha256 {sha256})")
    run_git("apply", "--whitespace=nowarn", "-", folder=workspace.root, stdin=diff)
    changed = [line.split()[-1] for line in diff.decode(errors="replace").splitlines() if line.startswith("diff --git")]
    names = ", ".join(name.removeprefix("b/") for name in changed)
    workspace.notes.append(f"code changes beyond the commit were applied from the run's {CODE_DIFF}: {names}")


def supply_data(workspace: Workspace, repo: Path, recorded: Mapping[str, str]) -> None:
    """Make the data sets of the settings available in the clone.

    Args:
        workspace: the clone.
        repo: the original checkout.
        recorded: path of a data set -> the md5 that the original run recorded.

    Raises:
        RunError: where a data set is missing or has another md5.
    """
    settings = workspace.settings
    places = [("dataset.path", settings["dataset"]["path"])]
    cohorts = settings.get("external") or []
    places += [(f"external.{row}.dataset.path", cohort["dataset"]["path"]) for row, cohort in enumerate(cohorts)]
    for key, path in places:
        if path != settings["paths"]["synthetic"]:  # the graph itself makes these
            _supply(workspace, repo, key, Path(path), recorded.get(path))
    if keep := (settings.get("split") or {}).get("keep"):
        _supply_kept_split(workspace, repo, Path(keep["file"]))
    for path in _files_outside_git(settings):
        if not path.is_absolute() and (repo / path).exists() and not (workspace.root / path).exists():
            _link(workspace.root / path, repo / path)


def _supply_kept_split(workspace: Workspace, repo: Path, path: Path) -> None:
    """Fetch the file of split.keep from DVC, or read it in place; the stage compares its sha256."""
    pointer = _pointer(workspace.root, path)
    if pointer is not None:
        _pull(workspace.root, pointer, path)
    elif (repo / path).exists():
        _link(workspace.root / path, repo / path)


def _supply(workspace: Workspace, repo: Path, key: str, path: Path, wanted: str | None) -> None:
    """Read a data set in place where it has the recorded md5, else fetch that version from DVC."""
    pointer = _pointer(workspace.root, path)
    here = hash_path(repo, path)
    if here is not None and (here == wanted or (wanted is None and pointer is None)):
        _read_in_place(workspace, repo, key, path, pointer)
    elif pointer is not None:
        _pull(workspace.root, pointer, path)
        here = hash_path(workspace.root, path)
    if wanted is None:
        workspace.notes.append(f"{path}: the version that the run read is not recorded; the present md5 is {here}")
    elif here is None:
        raise RunError(f"{path}: the data set of the run (md5 {wanted}) is missing; put it there ({key}, params.yaml)")
    elif here != wanted:
        dvc = f"{pointer.name} names md5 {here}" if pointer else "DVC does not track it (no .dvc file)"
        raise RunError(
            f"{path}: other data: the run read md5 {wanted}, the present md5 is {here}, and {dvc}; put the version of "
            "the run there"
        )


def _read_in_place(workspace: Workspace, repo: Path, key: str, path: Path, pointer: Path | None) -> None:
    """Make the clone read the data of the original checkout, without a copy.

    A relative path out of the repository would mean another folder in the clone, so params.yaml gets the absolute one.
    """
    place = (repo / path).resolve()
    if path.is_absolute() or (workspace.root / path).resolve() == place:
        return
    if ".." in path.parts:
        params = workspace.root / PARAMS
        params.write_text(edit(params.read_text(), f"{key}={place}"))
        workspace.moved[str(place)] = str(path)
        workspace.notes.append(f"{key} is an absolute path in the clone: {path} means another folder there")
        return
    if pointer is not None:
        pointer.unlink()  # else DVC would treat the link as its own output and replace what it points to
    _link(workspace.root / path, place)


def _pointer(root: Path, path: Path) -> Path | None:
    """The `.dvc` file of a path or of a folder above it, if any."""
    if path.is_absolute() or ".." in path.parts:
        return None
    found = (root / part.with_name(f"{part.name}.dvc") for part in (path, *path.parents) if part.name)
    return next((file for file in found if file.exists()), None)


def _pull(root: Path, pointer: Path, path: Path) -> None:
    """Fetch data from the original checkout's cache, else from the default remote."""
    for remote in (["--remote", REMOTE], []):
        command = [sys.executable, "-m", "dvc", "pull", "--quiet", *remote, str(pointer.relative_to(root))]
        done = subprocess.run(
            command, cwd=root, env={**os.environ, "PATH": venv_path()}, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return
    raise RunError(
        f"{path}: the version that {pointer.name} names is neither in this checkout's DVC cache nor in a remote; "
        f"fetch it here with `dvc fetch {pointer.relative_to(root)}` first:\n{done.stderr.strip()[-1000:]}"
    )


def _files_outside_git(settings: Any) -> Iterator[Path]:
    """Files outside git that settings name; the stages themselves check their content."""
    named = [arm.get("file") for arm in settings["pretrain"]["arms"].values()]
    yield from (Path(name) for name in [*named, settings["validate"].get("reference")] if name)


def _link(path: Path, place: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(place)
