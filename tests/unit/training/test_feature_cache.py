"""Features of a frozen encoder: those of each view's images, computed once."""

from __future__ import annotations

import numpy as np
import torch

from components.data.pixels import read_pixels
from components.models.backbones.timm import Config as Timm
from components.models.encoder import to_tensor
from components.training.conditions import Phase
from components.training.examples import read_examples
from components.training.feature_cache import FeatureCache
from components.training.finetune_batches import FinetuneBatches
from components.training.settings import Schedule
from tests.unit.flows import small_study
from tests.unit.training.small_settings import CLASSES, cpu_session, small_conditions

BACKBONE = Timm(name="test_efficientnet")


def test_features_of_a_view_are_those_of_its_images_one_by_one(tmp_path):
    small_study.write_split(tmp_path / "train", 21)
    train = read_examples(read_pixels(tmp_path / "train"), CLASSES, "train")
    phase = Phase("head", Schedule(epochs=4, learning_rate=0.01))
    batches = FinetuneBatches(train, small_conditions(phase, views=2), seed=5)
    encoder = BACKBONE.build().eval()
    cache = FeatureCache(encoder, cpu_session(BACKBONE.cpu, seed=5))
    for epoch in (0, 1, 3):
        rows = np.concatenate(batches.orders(epoch))
        found = torch.cat([features for features, _ in batches.features(cache, epoch)])
        for row, features in zip(rows, found, strict=True):
            image = batches.augmentation(train.pixels.take(np.array([row])), epoch % 2, int(row))
            with torch.no_grad():
                expected = encoder(to_tensor(image).float() / 255)[0]
            torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-6)
    assert len(cache.features) == 2


def test_images_without_augmentation_pass_the_encoder_once(tmp_path):
    small_study.write_split(tmp_path / "train", 21)
    train = read_examples(read_pixels(tmp_path / "train"), CLASSES, "train")
    seen = []
    encoder = BACKBONE.build().eval()
    encoder.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    cache = FeatureCache(encoder, cpu_session(BACKBONE.cpu))
    first, again = (cache.without_augmentation(train) for _ in range(2))
    assert first is again and sum(seen) == 21
