"""Which model a person means: a folder, a model of MLflow's registry, or the one of this checkout."""

from __future__ import annotations

from pathlib import Path

from components.base.errors import RunError
from components.deployment.bundle import MANIFEST, Bundle, open_bundle


def find_bundle(model: str | None, own: Path) -> Bundle:
    """The verified bundle that is meant.

    Args:
        model: a folder with a bundle; None for `own`.
        own: the bundle of this checkout (`paths.bundle`).

    Raises:
        RunError: where there is none.
        CheckpointError: where one of its files was changed.
    """
    folder = own if model is None else Path(model)
    if not (folder / MANIFEST).is_file():
        made = "the stage bundle makes it (dvc repro bundle)" if model is None else "expected a folder with a bundle"
        raise RunError(f"{folder}: has no {MANIFEST}; {made}")
    return open_bundle(folder)
