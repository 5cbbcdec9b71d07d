"""The classifier: initial weights of the head, gradients, predictions."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from components.models.backbones.timm import Config as Timm
from components.models.classifier import Classifier, build_head, head_logits, predict
from components.models.encoder import weights_sha256

BACKBONE = Timm(name="test_efficientnet")
CLASSES = ("akiec", "mel", "nv")


def _classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    encoder = BACKBONE.build()
    return Classifier(encoder, build_head(encoder.feature_dim, 8, 0.2, len(CLASSES), seed))


def _images(count: int = 6) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))


def test_the_heads_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = build_head(10, 8, 0.2, 3, seed=5)
    torch.rand(7)
    again = build_head(10, 8, 0.2, 3, seed=5)
    assert weights_sha256(first) == weights_sha256(again) != weights_sha256(build_head(10, 8, 0.2, 3, seed=6))


def test_drawing_a_head_leaves_other_random_numbers_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    build_head(10, 8, 0.2, 3, seed=5)
    assert torch.equal(torch.rand(3), expected)


def test_output_has_one_logit_a_class_and_every_parameter_gets_a_gradient():
    classifier = _classifier()
    logits = classifier(_images() / 255)
    assert logits.shape == (6, 3) and torch.isfinite(logits).all()
    functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0, 1, 2])).backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in classifier.parameters())


def test_predictions_are_probabilities_and_do_not_depend_on_the_batches():
    classifier = _classifier().train()
    whole = predict(classifier, [_images()])
    parts = predict(classifier, _images().split(4))
    assert whole.shape == (6, 3) and whole.dtype == np.float64
    np.testing.assert_allclose(whole.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(whole, parts, atol=1e-6)


def test_logits_are_float32_in_evaluation_mode_also_under_autocast():
    head = build_head(10, 8, 0.5, 3, seed=0).train()
    features = torch.rand(5, 10)
    with torch.autocast("cpu", torch.bfloat16):
        found = head_logits(head, features)
    assert head.training and found.dtype == torch.float32
    assert torch.equal(found, head.eval()(features))
