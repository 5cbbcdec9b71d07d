"""A fold's clone: this checkout's commit, code changes and settings, with `split.folds` and `split.fold` set.

All folds share the DVC cache of the checkout, and so its run cache: stages whose inputs are equal in several folds,
such as `ingest` and `validate`, run once. A clone stays for the next call, in which DVC runs only what is missing.
Where commit or code changed since, it is made anew; results that are still valid come from the run cache.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from components.base.errors import RunError
from components.base.files import write_text
from flows.orchestration.graph import cache_folder, hash_path
from flows.orchestration.processes import STATE
from flows.presets import edit
from flows.reproduction.workspace import Workspace, apply_changes, clone, supply_data
from flows.settings import PARAMS, Settings
from flows.tracking.environment import code_changes
from flows.tracking.git import find_commit

FOLDS = STATE / "folds"
"""Folder of the clones, one a fold; ignored by git."""

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
    if not (root / MADE_OF).exists() or (root / MADE_OF).read_text() != made_of:
        shutil.rmtree(root, ignore_errors=True)
        workspace = clone(repo, commit.sha, root, cache=cache_folder(repo).parents[1])
        apply_changes(workspace, diff, sha256, f"fold {fold}")
        write_text(root / MADE_OF, made_of)
    workspace = Workspace(root)
    write_text(root / PARAMS, fold_params((repo / PARAMS).read_text(), folds, fold))
    supply_data(workspace, repo, _data_hashes(repo, settings))
    return workspace


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
