"""A fold's clone: this checkout's commit, code changes and settings, with `split.folds` and `split.fold` set.

All folds share the DVC cache of the checkout. Stages that depend on no fold, up to `validate`, run once: a clone gets
their entries of dvc.lock, and their outputs from the cache. A clone stays for the next call, which brings its code and
settings up to date; then DVC runs there what is missing or stale.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

from ruamel.yaml import YAML

from components.base.errors import RunError
from components.base.files import write_text
from flows.orchestration.dvc_leftovers import repair_leftovers
from flows.orchestration.graph import cache_folder, hash_path, read_graph, upstream_of
from flows.orchestration.processes import STATE, venv_path
from flows.presets import edit
from flows.reproduction.compare_runs import read_lock
from flows.reproduction.workspace import Workspace, apply_changes, clone, supply_data
from flows.settings import PARAMS, Settings
from flows.stage_io.protocol import OPENINGS
from flows.tracking.environment import POINTERS, code_changes, without_results
from flows.tracking.git import find_commit, run_git
from flows.tracking.lineage import LOCK

FOLDS = STATE / "folds"
"""Folder of the clones, one a fold; ignored by git."""

LAST_SHARED = "validate"
"""The last stage that depends on no fold."""

MADE_OF = STATE / "fold"
"""File in a clone: commit and code changes that it was made of."""


def fold_root(repo: Path, fold: int) -> Path:
    """The folder of a fold's clone."""
    return repo / FOLDS / str(fold)


def prepare_fold(repo: Path, settings: Settings, folds: int, fold: int) -> Workspace:
    """The clone of a fold, ready to run.

    Args:
        repo: this checkout.
        settings: of this checkout.
        folds: their number.
        fold: that is tested.

    Raises:
        RunError: where this checkout has no commit.
    """
    commit, root = find_commit(repo), fold_root(repo, fold)
    if not commit.sha:
        raise RunError(f"no commit of this checkout can be read: {commit.found}; {commit.fix}")
    remove_other_folds(repo, folds)
    if not (root / MADE_OF).exists():  # new, or cloning it was interrupted
        shutil.rmtree(root, ignore_errors=True)
        clone(repo, commit.sha, root, cache=cache_folder(repo).parents[1])
        write_text(root / MADE_OF, "")
    workspace = Workspace(root)
    _update(workspace, commit.sha, settings, f"fold {fold}")
    write_text(root / PARAMS, fold_params((repo / PARAMS).read_text(), folds, fold))
    supply_data(workspace, repo, _data_hashes(repo, settings))
    workspace.notes += repair_leftovers(root)
    take_shared_results(repo, root)
    return workspace


def _update(workspace: Workspace, commit: str, settings: Settings, label: str) -> None:
    """Bring commit and code changes of the clone up to date; results, resume states and dvc.lock stay for DVC to judge.

    Args:
        workspace: the clone.
        commit: of this checkout.
        settings: of this checkout.
        label: of the fold, for messages.
    """
    root, diff = workspace.root, code_changes(settings, code_alone=True)
    sha256 = hashlib.sha256(diff).hexdigest() if diff else "none"
    made_of = f"{commit} {sha256}\n"
    if (root / MADE_OF).read_text() == made_of:
        return
    own = [*without_results(settings), f":(exclude){OPENINGS}", f":(exclude,glob){POINTERS}"]
    run_git("reset", "--quiet", commit, folder=root)
    run_git("clean", "--quiet", "--force", "-d", "--", ".", *own, folder=root)
    run_git("checkout", "--quiet", commit, "--", ".", *own, folder=root)
    apply_changes(workspace, diff, sha256, label)
    write_text(root / MADE_OF, made_of)


def take_shared_results(source: Path, root: Path) -> None:
    """Give a clone what this checkout recorded of the stages that depend on no fold.

    DVC's run cache does not hold these stages, since their metrics are outside the cache. Where this checkout has
    nothing, or something that is not valid in the clone, or the cache lacks it, DVC runs the stage there.

    Args:
        source: a checkout with the same DVC cache.
        root: the clone.
    """
    theirs, own = read_lock(source / LOCK), read_lock(root / LOCK)
    nodes = {node.address: node for node in read_graph(source)}
    addresses = upstream_of(nodes.values(), nodes[LAST_SHARED])
    shared = {name: theirs[name] for name in addresses if name in theirs and theirs[name] != own.get(name)}
    if not shared:
        return
    text = StringIO()
    YAML(typ="safe").dump({"schema": "2.0", "stages": {**own, **shared}}, text)
    write_text(root / LOCK, text.getvalue())
    for path in (Path(result) for name in shared for result in nodes[name].results):
        if (source / path).exists():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, root / path)
    command = [sys.executable, "-m", "dvc", "checkout", "--quiet", "--allow-missing", *shared]
    subprocess.run(command, cwd=root, env={**os.environ, "PATH": venv_path()}, capture_output=True, check=False)


def fold_params(text: str, folds: int, fold: int) -> str:
    """The text of params.yaml for a fold."""
    for change in (f"split.folds={folds}", f"split.fold={fold}", "split.keep=null", "cross_validation.folds=null"):
        text = edit(text, change)
    return text


def _data_hashes(repo: Path, settings: Settings) -> dict[str, str]:
    """DVC's md5 of the study's data set as it is now, by its path in params.yaml; synthetic images have none."""
    path = settings.dataset.path
    found = None if path == settings.paths.synthetic else hash_path(repo, path)
    return {str(path): found} if found else {}


def remove_other_folds(repo: Path, folds: int) -> None:
    """Remove clones of an earlier cross-validation with more folds; another fold may do the same now."""
    for path in (repo / FOLDS).glob("*"):
        if path.name.isdecimal() and int(path.name) >= folds:
            shutil.rmtree(path, ignore_errors=True)
