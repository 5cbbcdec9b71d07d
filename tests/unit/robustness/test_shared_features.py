"""Sharing an encoder changes no prediction."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from components.models.classifier import Classifier, build_head, predict
from components.models.encoder import Encoder, to_tensor
from components.robustness.shared_features import group_by_encoder, predict_all


def build(encoder_seed: int, head_seed: int) -> Classifier:
    torch.manual_seed(encoder_seed)
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.GELU())
    return Classifier(Encoder(trunk, feature_dim=8), build_head([8], 4, 0.2, 3, head_seed)).eval()


def test_each_encoder_runs_once_and_each_run_predicts_as_it_does_alone() -> None:
    runs = {"a-0": build(0, 0), "a-1": build(0, 1), "b-0": build(1, 0)}
    encoders = group_by_encoder(runs.items())
    assert [sorted(shared.heads) for shared in encoders] == [["a-0", "a-1"], ["b-0"]]
    passes = []
    for shared in encoders:
        shared.encoder.register_forward_hook(lambda *_: passes.append(1))
    images = np.random.default_rng(0).integers(0, 256, (20, 16, 16, 3)).astype(np.uint8)
    found = predict_all(encoders, images)
    assert len(passes) == 2
    for name, classifier in runs.items():
        np.testing.assert_allclose(found[name], predict(classifier, [to_tensor(images)]), atol=1e-6)
    assert not np.allclose(found["a-0"], found["a-1"])
