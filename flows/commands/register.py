"""`dermflow register`: the bundle of this checkout as a version in MLflow's registry."""

from __future__ import annotations

from collections.abc import Callable

from components.deployment.bundle import open_bundle
from flows.registry.versions import register as register_version
from flows.settings import load_settings
from flows.tracking.mlflow_log import open_client


def register(echo: Callable[[str], None]) -> None:
    """Register the bundle, or say which version it has already.

    Args:
        echo: shows one line.
    """
    settings = load_settings()
    bundle = open_bundle(settings.paths.bundle)
    version, new = register_version(open_client(), bundle, settings)
    address = f"models:/{version.name}/{version.version}"
    echo(
        f"{address}: bundle {bundle.sha256[:12]}, run {bundle.manifest.run}{'' if new else ' (was registered already)'}"
    )
    echo(f"use it with `dermflow predict IMAGES --model {address}`; `dermflow promote` compares it with the champion")
