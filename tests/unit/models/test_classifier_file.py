"""Files of classifiers: the same predictions after loading, refused for other classes or backbones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.base.errors import CheckpointError
from components.models.backbones.timm import Config as Timm
from components.models.classifier import Classifier, build_head, predict
from components.models.classifier_file import load_classifier, save_classifier

BACKBONE = Timm(name="test_efficientnet")
CLASSES = ("akiec", "mel", "nv")
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), dtype=np.uint8))


def small_classifier() -> Classifier:
    torch.manual_seed(0)
    encoder = BACKBONE.build().read("all_stages")
    return Classifier(encoder, build_head(encoder.feature_sizes, 8, 0.2, len(CLASSES), seed=0))


def save(path, classifier):
    header = {"classes": CLASSES, "features": "all_stages", "head": {"hidden": 8, "dropout": 0.2}, "run": "vae-full-0"}
    save_classifier(path, classifier.state_dict(), BACKBONE, header)


def test_a_saved_classifier_gives_the_same_predictions(tmp_path):
    classifier = small_classifier()
    save(tmp_path / "a.safetensors", classifier)
    save(tmp_path / "b.safetensors", classifier)
    loaded = load_classifier(tmp_path / "a.safetensors", BACKBONE, CLASSES)
    np.testing.assert_array_equal(predict(loaded, [IMAGES]), predict(classifier, [IMAGES]))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_classifier_of_other_classes_or_backbone_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save(path, small_classifier())
    message = (
        r"made for classes \['akiec', 'mel', 'nv'\], but labels.scheme .* \['mel', 'nv'\]; rerun the stage finetune"
    )
    with pytest.raises(CheckpointError, match=message):
        load_classifier(path, BACKBONE, ("mel", "nv"))
    with pytest.raises(CheckpointError, match=r"backbone.name = 'test_efficientnet', but now it is 'test_convnext'"):
        load_classifier(path, Timm(name="test_convnext"), CLASSES)
