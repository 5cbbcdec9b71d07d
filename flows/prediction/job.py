"""The job: images in, a table of answers out; `dermflow predict` and the flow of Prefect run it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from components.deployment.predictor import Predictor
from flows.prediction.inputs import find_images
from flows.prediction.models import find_bundle
from flows.prediction.table import predict_table
from flows.settings import load_settings
from flows.tracking.terminal import EchoLog


def predict(
    images: Sequence[Path], *, model: str | None, out: Path, column: str | None, echo: Callable[[str], None]
) -> None:
    """Predict images into a table, and say how many were answered and how many could not be read.

    Args:
        images: files, folders or tables.
        model: see `find_bundle`; None for the bundle of this checkout.
        out: the table, .parquet or .csv.
        column: of a table, the column of paths; None for `path`.
        echo: shows one line.
    """
    settings = load_settings()
    bundle = find_bundle(model, settings.paths.bundle)
    log = EchoLog(echo)
    predictor = Predictor.open(bundle, device=settings.compute.device, threads=settings.compute.threads, log=log)
    inputs = find_images(images, column)
    for line in _about(bundle.manifest.run, bundle.sha256, bundle.manifest.recommended, bundle.manifest.synthetic):
        echo(line)
    for note in inputs.notes:
        echo(note)
    found = predict_table(inputs, predictor, out, settings.compute.threads, log)
    malignant = "" if found.malignant is None else f", {found.malignant} of the answered ones called malignant"
    echo(
        f"{out}: {found.images} images, {found.failed} could not be read (column error), {found.abstained} not "
        f"answered (column reason){malignant}"
    )


def _about(run: str, sha256: str, recommended: bool, synthetic: bool) -> list[str]:
    lines = [f"model {run}, bundle {sha256[:12]}"]
    if synthetic:
        return [*lines, "SYNTHETIC: the model was trained on drawings; its answers say nothing about patients"]
    return lines if recommended else [*lines, "this model is not recommended by its study: see bundle.json"]
