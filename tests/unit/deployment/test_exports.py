"""Exports: ONNX Runtime gives the predictor's numbers, the loader its decisions, timm the encoder's maps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from PIL import Image

from components.data.pixels import square
from components.deployment.bundle import Bundle, open_bundle
from components.deployment.manifest import Manifest
from components.deployment.onnx_model import LOADER, MODEL, ExportedModel, export_onnx
from components.deployment.predictor import Predictor
from components.deployment.timm_encoder import export_timm
from tests.unit.training.small_trainings import CLASSES, SIDE

PIXELS = np.random.default_rng(0).integers(0, 256, (200, SIDE, SIDE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def predictor(bundle_folder: Path) -> Predictor:
    return Predictor.open(open_bundle(bundle_folder), device="cpu")


@pytest.fixture(scope="module")
def exported(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("onnx") / "model"
    export_onnx(open_bundle(bundle_folder), place)
    return place


def test_onnx_runtime_gives_the_predictors_probabilities(predictor: Predictor, exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported / MODEL, providers=["CPUExecutionProvider"])
    trained, _, shown = session.run(None, {"images": PIXELS})
    table = predictor.predict(PIXELS)
    np.testing.assert_allclose(trained, table[[f"trained_{name}" for name in CLASSES]], atol=1e-5)
    np.testing.assert_allclose(shown, table[[f"p_{name}" for name in CLASSES]], atol=1e-5)
    one, _, _ = session.run(None, {"images": PIXELS[:1]})  # another batch
    np.testing.assert_allclose(one, trained[:1], atol=1e-6)
    about = session.get_modelmeta().custom_metadata_map
    assert about["dermflow.bundle"] == predictor.bundle.sha256
    assert json.loads(about["dermflow.classes"]) == list(CLASSES)


@pytest.mark.parametrize("train", [(0.6, 0.1, 0.3), (0.7, 0.3, 0.0)])
@pytest.mark.parametrize("clinic", [None, dict(zip(CLASSES, (0.8, 0.2, 0.0), strict=True))])
def test_the_graph_restores_frequencies_and_scales_as_the_predictor_does(
    predictor: Predictor, clinic: dict[str, float] | None, train: tuple[float, ...]
) -> None:
    manifest = _changed(predictor.bundle.manifest, clinic, train)
    changed = Predictor(Bundle(predictor.bundle.folder, manifest, ""), predictor.classifier, predictor.outliers)
    with torch.no_grad():
        _, restored, shown = ExportedModel(predictor.classifier, manifest).eval()(torch.from_numpy(PIXELS))
    table = changed.predict(PIXELS)
    np.testing.assert_allclose(shown, table[[f"p_{name}" for name in CLASSES]], atol=1e-5)
    point = manifest.points[manifest.point or 0]
    called = restored[:, CLASSES.index(manifest.malignant[0])].numpy() >= point.threshold
    assert (called == table["malignant"].to_numpy(bool)).mean() > 0.99  # one image can lie on the threshold


def _changed(manifest: Manifest, clinic: dict[str, float] | None, train: tuple[float, ...]) -> Manifest:
    frequencies = manifest.frequencies.model_copy(
        update={"learned": dict.fromkeys(CLASSES, 1 / 3), "train": dict(zip(CLASSES, train, strict=True)),
                "clinic": clinic}
    )  # fmt: skip
    return manifest.model_copy(update={"frequencies": frequencies, "temperature": 1.6})


def test_the_loader_decides_as_the_predictor_does_and_imports_nothing_of_ours(
    predictor: Predictor, exported: Path, tmp_path: Path
) -> None:
    files = [tmp_path / f"{place}.png" for place in range(12)]
    for file, pixels in zip(files, PIXELS, strict=False):
        Image.fromarray(pixels).save(file)
    code = (exported / LOADER).read_text()
    assert "components" not in code and "torch" not in code
    done = subprocess.run(
        [sys.executable, "-I", str(exported / LOADER), *map(str, files)], cwd=tmp_path, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    table = predictor.predict(PIXELS[:12])
    assert [each["predicted"] for each in answers] == table["predicted"].tolist()
    assert [each["malignant"] for each in answers] == table["malignant"].tolist()
    assert [each["set"] for each in answers] == table["set"].tolist()
    shown = [list(each["probabilities"].values()) for each in answers]
    np.testing.assert_allclose(shown, table[[f"p_{name}" for name in CLASSES]], atol=1e-5)


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size", [(90, 120), (64, 64), (20, 27)])
def test_the_loader_resizes_an_image_as_the_predictor_does_but_for_rounding(
    exported: Path, tmp_path: Path, size: tuple[int, int], fit: str
) -> None:
    namespace: dict[str, object] = {"__file__": str(exported / LOADER), "__name__": "loader"}
    exec((exported / LOADER).read_text(), namespace)
    smooth = np.random.default_rng(1).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(smooth).resize(size, Image.Resampling.BICUBIC)
    image.save(tmp_path / "a.png")
    read = namespace["read"]
    assert callable(read)
    ours = square(np.asarray(Image.open(tmp_path / "a.png")), SIDE, fit).astype(int)
    theirs = read(tmp_path / "a.png", SIDE, fit).astype(int)
    assert np.abs(ours - theirs).max() <= 1  # of 255: OpenCV rounds in between


def test_timm_loads_the_encoder(predictor: Predictor, bundle_folder: Path, tmp_path: Path) -> None:
    export_timm(open_bundle(bundle_folder), tmp_path / "encoder")
    model = timm.create_model(
        f"local-dir:{tmp_path / 'encoder'}", pretrained=True, num_classes=0, global_pool=""
    ).eval()
    encoder = predictor.classifier.encoder
    images = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = encoder.map(images)
        cfg = model.pretrained_cfg
        mean, std = (torch.tensor(cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
        torch.testing.assert_close(model((images - mean) / std), expected, rtol=1e-5, atol=1e-6)
    assert (tmp_path / "encoder" / "README.md").exists()
