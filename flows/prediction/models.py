"""Which model a person means: a folder, a model of MLflow's registry, or the one of this checkout."""

from __future__ import annotations

from pathlib import Path

from components.base.errors import RunError
from components.deployment.bundle import MANIFEST, Bundle, open_bundle

ADDRESS = "models:/"


def find_bundle(model: str | None, own: Path) -> Bundle:
    """The verified bundle that is meant.

    Args:
        model: a folder with a bundle, models:/NAME@ALIAS, models:/NAME/VERSION, or NAME for models:/NAME@champion;
            None for `own`.
        own: the bundle of this checkout (`paths.bundle`).

    Raises:
        RunError: where there is none.
        CheckpointError: where one of its files was changed.
    """
    folder = own if model is None else Path(model)
    if (folder / MANIFEST).is_file():
        return open_bundle(folder)
    if model is None:
        raise RunError(f"{folder}: has no {MANIFEST}; the stage bundle makes it (dvc repro bundle)")
    if not model.startswith(ADDRESS) and (folder.exists() or "/" in model):
        raise RunError(
            f"{folder}: has no {MANIFEST}; expected a folder with a bundle, or a registered model, as in "
            f"{ADDRESS}dermflow-demo@champion"
        )
    return _registered(model)


def _registered(model: str) -> Bundle:
    from flows.registry.versions import (  # here, since mlflow takes seconds to import and a folder does not need it
        CHAMPION,
        get_version,
        open_version,
    )
    from flows.tracking.mlflow_log import open_client

    client = open_client()
    address = model if model.startswith(ADDRESS) else f"{ADDRESS}{model}@{CHAMPION}"
    return open_version(client, get_version(client, address))
