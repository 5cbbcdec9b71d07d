"""Answers from a bundle: those of `evaluate`, and what follows from them, recomputed image by image."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.data.pixels import read_pixels, square
from components.deployment.bundle import open_bundle
from components.deployment.decisions import decide
from components.deployment.manifest import Manifest
from components.deployment.predictor import Predictor
from components.validation.image_header import UndecodableError
from tests.unit.comparison.simulated_study import FOLDERS
from tests.unit.deployment.bundled_study import RUN
from tests.unit.training.small_trainings import CLASSES, SIDE


@pytest.fixture(scope="module")
def predictor(bundle_folder: Path) -> Predictor:
    return Predictor.open(open_bundle(bundle_folder), device="cpu")


def test_packed_images_get_the_probabilities_that_evaluate_wrote_to_the_last_bit(
    bundled_study: Path, predictor: Predictor
) -> None:
    pixels = read_pixels(bundled_study / FOLDERS["pixels"] / "test")
    written = pd.read_parquet(bundled_study / FOLDERS["predictions"] / f"{RUN}.parquet").query("split == 'test'")
    assert written["image_id"].tolist() == pixels.index["image_id"].tolist()
    found = predictor.predict_batches(pixels.take, len(pixels))
    for name in CLASSES:
        np.testing.assert_array_equal(found[f"trained_{name}"], written[f"p_{name}"])


def answer_by_hand(p: np.ndarray, manifest: Manifest) -> dict[str, object]:
    """One image, in plain Python, after docs/methods.md."""
    learned, train = manifest.frequencies.learned, manifest.frequencies.train
    weighted = [q * train[name] / learned[name] for q, name in zip(p, manifest.classes, strict=True)]
    restored = [q / sum(weighted) for q in weighted]
    powers = [q ** (1 / manifest.temperature) for q in restored]
    shown = [q / sum(powers) for q in powers]
    if manifest.frequencies.clinic:
        moved = [q * manifest.frequencies.clinic[n] / train[n] for q, n in zip(shown, manifest.classes, strict=True)]
        shown = [q / sum(moved) for q in moved]
    place = [name in manifest.malignant for name in manifest.classes]
    point = manifest.points[manifest.point]
    limits = manifest.conformal.limits
    return {
        "predicted": int(np.argmax(p)),
        "shown": shown,
        "malignancy": sum(q for q, here in zip(shown, place, strict=True) if here),
        "malignant": sum(q for q, here in zip(restored, place, strict=True) if here) >= point.threshold,
        "set": [limits[n] is None or 1 - q <= limits[n] for q, n in zip(restored, manifest.classes, strict=True)],
        "sure": max(p) >= manifest.abstention.threshold,
    }


@pytest.mark.parametrize("clinic", [None, {CLASSES[0]: 0.7, CLASSES[1]: 0.05, CLASSES[2]: 0.25}])
def test_decisions_are_those_of_the_formulas_image_by_image(
    bundle_folder: Path, clinic: dict[str, float] | None
) -> None:
    manifest = open_bundle(bundle_folder).manifest
    balanced = manifest.frequencies.model_copy(
        update={"learned": dict.fromkeys(CLASSES, 1 / 3), "train": dict(zip(CLASSES, (0.6, 0.1, 0.3), strict=True)),
                "clinic": clinic}
    )  # fmt: skip
    manifest = manifest.model_copy(update={"frequencies": balanced, "temperature": 1.7})
    p = np.random.default_rng(0).dirichlet(np.ones(3), 200)
    answers = decide(p, manifest)
    by_hand = pd.DataFrame([answer_by_hand(row, manifest) for row in p])
    np.testing.assert_array_equal(answers.predicted, by_hand["predicted"])
    np.testing.assert_allclose(answers.probabilities, np.stack(by_hand["shown"]), rtol=1e-12)
    np.testing.assert_allclose(answers.malignancy, by_hand["malignancy"], rtol=1e-12)
    np.testing.assert_array_equal(answers.malignant, by_hand["malignant"])
    np.testing.assert_array_equal(answers.sets, np.stack(by_hand["set"]))
    np.testing.assert_array_equal(answers.sure, by_hand["sure"])
    np.testing.assert_allclose(answers.probabilities.sum(1), 1, rtol=1e-12)


def test_without_malignant_classes_nothing_is_called_malignant(bundle_folder: Path) -> None:
    manifest = open_bundle(bundle_folder).manifest.model_copy(update={"malignant": (), "points": (), "point": None})
    answers = decide(np.full((2, 3), 1 / 3), manifest)
    assert answers.malignancy is None
    assert answers.malignant is None


def encoded(pixels: np.ndarray, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def test_an_encoded_image_becomes_the_pixels_that_pack_makes(predictor: Predictor) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3 * SIDE, 4 * SIDE, 3), dtype=np.uint8)
    np.testing.assert_array_equal(predictor.read(encoded(pixels)), square(pixels, SIDE, "crop"))
    with pytest.raises(UndecodableError):
        predictor.read(encoded(pixels)[:200])
    with pytest.raises(UndecodableError):
        predictor.read(b"no image")


def test_an_image_unlike_all_others_is_not_answered_and_the_reason_says_why(
    bundled_study: Path, predictor: Predictor
) -> None:
    loud = np.random.default_rng(2).choice([0, 255], (2, SIDE, SIDE, 3)).astype(np.uint8)
    found = predictor.predict(loud)
    assert found["outlier_p"].tolist() == [0.1, 0.1]  # farther than all nine val lesions
    assert found["abstain"].tolist() == [True, True]
    assert found["reason"].str.contains("unlike the train images: 10.00% of val, this image counted with it").all()
    train = read_pixels(bundled_study / FOLDERS["pixels"] / "train")
    known = predictor.predict_batches(train.take, len(train))
    assert (known["outlier_p"] > 0.2).mean() > 0.5
    assert not known[known["outlier_p"] > 0.2]["reason"].str.contains("unlike").any()


def test_no_image_gives_an_empty_table_with_the_same_columns(predictor: Predictor) -> None:
    pixels = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    assert predictor.predict(pixels[:0]).columns.tolist() == predictor.predict(pixels).columns.tolist()
