"""A registered candidate and the champion on the packed test images of this checkout, without lesions that either has
seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from components.base.errors import DataError, RunError
from components.base.log import Log
from components.data.pixels import Pixels, read_pixels
from components.deployment.bundle import TRAINED_ON, Bundle
from components.deployment.evidence import Evidence, count_lesions, measure
from components.deployment.predictor import Predictor
from components.deployment.trained_on import read_hashes, seen
from components.statistics.resampled import resample
from flows.settings import Settings
from flows.stage_io.files import read_json


@dataclass(frozen=True)
class Compared:
    """What the gates and the page use."""

    evidence: Evidence
    images: pd.DataFrame
    """Test images that neither model has seen: image_id, label, group."""
    candidate: pd.DataFrame
    """Columns of `Predictor.predict`, in the order of `images`."""
    champion: pd.DataFrame | None


def compare_on_test(candidate: Bundle, champion: Bundle | None, settings: Settings, log: Log) -> Compared:
    """Predict the same test lesions with both models, and measure.

    Raises:
        RunError: where one of them cannot be compared on these images: other classes, other pixels, a bundle that does
            not record what it was trained on, or no test lesion that neither has seen.
    """
    models = [candidate, *([] if champion is None else [champion])]
    packed = read_pixels(settings.paths.pixels / "test")
    for each in models:
        _check_fits(each, settings, packed)
    unseen = ~np.any([_seen(each, packed) for each in models], axis=0)
    pixels = packed.rows(unseen)
    if not len(pixels):
        raise RunError(
            f"{settings.paths.pixels / 'test'}: the candidate or the champion was trained on every test lesion, so "
            "there is nothing to compare them on; add lesions that neither has seen, or keep the split of the champion"
        )
    left_out = packed.index["group"].nunique() - pixels.index["group"].nunique()
    if left_out:
        log.line(f"{left_out} test lesions are left out: a model was trained on them, or on another image of them")
    tables = [_predict(each, pixels, settings, log) for each in models]
    probabilities = [_trained(table, each) for table, each in zip(tables, models, strict=True)]
    pairs = list(zip(probabilities, (each.manifest for each in models), strict=True))
    classes, compare = candidate.manifest.classes, settings.compare
    labels, groups = pixels.labels(classes), pixels.index["group"].to_numpy(str)
    drawn = resample(labels, groups, compare.resamples, compare.confidence, np.random.default_rng(compare.seed))
    return Compared(
        Evidence(
            measures=measure(drawn, pairs[0], pairs[1] if champion else None),
            lesions=count_lesions(labels, groups, classes),
            left_out=left_out,
            gap=candidate.manifest.gap,
            data_checks=_data_checks(settings),
            recommended=candidate.manifest.recommended,
            recommendation=candidate.manifest.recommendation,
        ),
        pixels.index[["image_id", "label", "group"]],
        tables[0],
        tables[1] if champion else None,
    )


def _check_fits(bundle: Bundle, settings: Settings, packed: Pixels) -> None:
    manifest = bundle.manifest
    pairs = {
        "classes": (list(manifest.classes), list(settings.labels.classes)),
        "pack.image_size": (manifest.image_size, packed.size),
        "pack.fit": (manifest.fit, settings.pack.fit),
    }
    differing = [f"{name} {theirs}, here {ours}" for name, (theirs, ours) in pairs.items() if theirs != ours]
    if differing:
        raise RunError(
            f"bundle {bundle.sha256[:12]} ({manifest.run}) has {'; '.join(differing)}: it cannot be compared on the "
            "packed test images of this checkout; give this study another study.name, then it has its own champion"
        )


def _seen(bundle: Bundle, packed: Pixels) -> Any:
    """(N,) which test images belong to a lesion that the model was trained on."""
    if TRAINED_ON not in bundle.manifest.files:
        raise RunError(
            f"bundle {bundle.sha256[:12]} ({bundle.manifest.run}) lacks {TRAINED_ON}, so it is not known which "
            "lesions it was trained on; make the bundle again in its checkout (dvc repro bundle) and register it"
        )
    return seen(packed.index, read_hashes(bundle.folder / TRAINED_ON))


def _predict(bundle: Bundle, pixels: Pixels, settings: Settings, log: Log) -> pd.DataFrame:
    compute = settings.compute
    predictor = Predictor.open(bundle, device=compute.device, threads=compute.threads, log=log)
    return predictor.predict_batches(pixels.take, len(pixels))


def _trained(table: pd.DataFrame, bundle: Bundle) -> Any:
    return table[[f"trained_{name}" for name in bundle.manifest.classes]].to_numpy(float)


def _data_checks(settings: Settings) -> Mapping[str, bool]:
    """What the stage `validate` measured; empty where it has left no record."""
    try:
        found = read_json(settings.paths.metrics / "validation.json")["expectations"]
    except (DataError, OSError, KeyError):
        return {}
    return {name: bool(each["success"]) for name, each in found.items()}
