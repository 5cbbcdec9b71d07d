"""A fold's clone: this checkout's commit, code changes and settings, with `split.folds` and `split.fold` set.

All folds share the DVC cache of the checkout. Stages that depend on no fold, up to `validate`, run once: a new clone
gets their entries of dvc.lock, and their outputs from the cache. A clone stays for the next call, in which DVC runs
what is missing. Where commit or code changed since, it is made anew.
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
from flows.orchestration.graph import cache_folder, hash_path, read_graph
from flows.orchestration.processes import STATE, venv_path
from flows.presets import edit
from flows.reproduction.recorded_stages import upstream_of
from flows.reproduction.workspace import Workspace, apply_changes, clone, supply_data
from flows.settings import PARAMS, Settings, read_yaml
from flows.tracking.environment import code_changes
from flows.tracking.git import find_commit
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


def present_folds(repo: Path) -> list[int]:
    """The folds that have a clone, in order."""
    return sorted(int(path.name) for path in (repo / FOLDS).glob("*") if path.name.isdecimal())


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
    diff = code_changes(settings)
    sha256 = hashlib.sha256(diff).hexdigest() if diff else "none"
    made_of = f"{commit.sha} {sha256}\n"
    new = not (root / MADE_OF).exists() or (root / MADE_OF).read_text() != made_of
    if new:
        shutil.rmtree(root, ignore_errors=True)
        workspace = clone(repo, commit.sha, root, cache=cache_folder(repo).parents[1])
        apply_changes(workspace, diff, sha256, f"fold {fold}")
        write_text(root / MADE_OF, made_of)
    workspace = Workspace(root)
    write_text(root / PARAMS, fold_params((repo / PARAMS).read_text(), folds, fold))
    supply_data(workspace, repo, _data_hashes(repo, settings))
    if new:
        take_shared_results(fold_root(repo, 0) if fold else repo, root)
    return workspace


def take_shared_results(source: Path, root: Path) -> None:
    """Give a new clone what another checkout recorded of the stages that depend on no fold.

    DVC's run cache does not hold these stages, since their metrics are outside the cache. Where the other checkout has
    nothing, or something that is not valid here, or the cache lacks it, DVC runs the stage.

    Args:
        source: a checkout with the same DVC cache.
        root: the new clone.
    """
    lock = read_yaml(source / LOCK) if (source / LOCK).exists() else None
    nodes = {node.address: node for node in read_graph(source)} if isinstance(lock, dict) else {}
    if not isinstance(lock, dict) or LAST_SHARED not in nodes:
        return
    stages = lock.get("stages") or {}
    shared = [name for name in upstream_of(nodes.values(), nodes[LAST_SHARED]) if name in stages]
    text = StringIO()
    YAML(typ="safe").dump(lock | {"stages": {name: stages[name] for name in shared}}, text)
    write_text(root / LOCK, text.getvalue())
    for path in (Path(result) for name in shared for result in nodes[name].results):
        if (source / path).exists():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / path, root / path)
    command = [sys.executable, "-m", "dvc", "checkout", "--quiet", "--allow-missing", *shared]
    subprocess.run(command, cwd=root, env={**os.environ, "PATH": venv_path()}, capture_output=True, check=False)


def fold_params(text: str, folds: int, fold: int) -> str:
    """The text of params.yaml for a fold."""
    return edit(edit(text, f"split.folds={folds}"), f"split.fold={fold}")


def _data_hashes(repo: Path, settings: Settings) -> dict[str, str]:
    """DVC's md5 of the study's data set as it is now, by its path in params.yaml; synthetic images have none."""
    path = settings.dataset.path
    found = None if path == settings.paths.synthetic else hash_path(repo, path)
    return {str(path): found} if found else {}


def remove_other_folds(repo: Path, folds: int) -> None:
    """Remove clones of an earlier cross-validation with more folds."""
    for fold in present_folds(repo):
        if fold >= folds:
            shutil.rmtree(fold_root(repo, fold))
