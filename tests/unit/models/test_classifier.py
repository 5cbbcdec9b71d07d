"""The classifier: initial weights of the head, gradients, predictions."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from components.models.backbones.timm import Config as Timm
from components.models.classifier import FLOOR_SHARE, Classifier, build_head, head_logits, predict
from components.models.encoder import weights_sha256

BACKBONE = Timm(name="test_efficientnet")
CLASSES = ("akiec", "mel", "nv")


def _classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    encoder = BACKBONE.build()
    return Classifier(encoder, build_head(encoder.feature_sizes, 8, 0.2, len(CLASSES), seed))


def _images(count: int = 6) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))


def test_the_heads_first_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = build_head([10], 8, 0.2, 3, seed=5)
    torch.rand(7)
    again = build_head([10], 8, 0.2, 3, seed=5)
    assert weights_sha256(first) == weights_sha256(again) != weights_sha256(build_head([10], 8, 0.2, 3, seed=6))


def test_drawing_a_head_leaves_other_random_numbers_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    build_head([10], 8, 0.2, 3, seed=5)
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
    head = build_head([10], 8, 0.5, 3, seed=0).train()
    features = torch.rand(5, 10)
    with torch.autocast("cpu", torch.bfloat16):
        found = head_logits(head, features)
    assert head.training and found.dtype == torch.float32
    assert torch.equal(found, head.eval()(features))


# --- the head's standardisation


def test_fitted_statistics_are_the_exact_mean_and_variance():
    features = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * torch.arange(1.0, 7) + 3
    head = build_head([6], 8, 0.0, 3, seed=0).eval()
    head.standardisation.fit(features)
    expected = StandardScaler().fit_transform(features.double().numpy())
    floor = FLOOR_SHARE * features.double().numpy().var(0).mean()
    expected *= np.sqrt(features.double().numpy().var(0) / (features.double().numpy().var(0) + floor))
    np.testing.assert_allclose(head[0](features).numpy(), expected, atol=1e-5)


def test_a_feature_that_is_silent_in_training_does_not_explode():
    """330 batches in which a feature is 0, then one image in which it is faintly active."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(330 * 64, 8, generator=generator)
    features[:, 0] = 0
    heads = {name: build_head([8], 256, 0.2, 7, seed=0).train() for name in ("running", "fitted")}
    for batch in features.split(64):
        heads["running"](batch)
    heads["fitted"].standardisation.fit(features)
    silent, faint = features[:64].clone(), features[:64].clone()
    faint[:, 0] = 0.01
    changes = {name: (head_logits(head, faint) - head_logits(head, silent)).abs().max() for name, head in heads.items()}
    assert changes["fitted"] == 0
    assert 0 < changes["running"] < 1


def test_features_of_any_scale_give_the_same_standardised_features():
    features = torch.randn(100, 5, generator=torch.Generator().manual_seed(2)) * torch.tensor(
        [1.0, 2.0, 0.5, 1.0, 0.02]
    )
    results = []
    for scale in (1.0, 1e-5, 1e5):
        head = build_head([5], 8, 0.0, 3, seed=0).eval()
        head.standardisation.fit(features * scale)
        results.append(head[0](features * scale))
    for other in results[1:]:
        torch.testing.assert_close(results[0], other, rtol=1e-4, atol=1e-4)


def test_stages_of_different_scale_are_standardised_apart():
    """Together, the floor of the first stage would shrink the features of the second."""
    features = torch.randn(200, 7, generator=torch.Generator().manual_seed(4)) * torch.tensor([1e3] * 4 + [1e-3] * 3)
    head = build_head([4, 3], 8, 0.0, 3, seed=0).eval()
    head.standardisation.fit(features)
    expected = StandardScaler().fit_transform(features.double().numpy()) / (1 + FLOOR_SHARE) ** 0.5
    np.testing.assert_allclose(head[0](features).numpy(), expected, rtol=1e-2, atol=1e-3)
    alone = build_head([7], 8, 0.0, 3, seed=0).eval()
    alone.standardisation.fit(features)
    assert (alone[0](features)[:, 4:] == 0).all()


def test_features_that_never_vary_give_zeros():
    head = build_head([4], 8, 0.0, 3, seed=0).eval()
    head.standardisation.fit(torch.full((20, 4), 2.5))
    assert head[0](torch.tensor([[2.5, 3.0, -1.0, 1e6]])).tolist() == [[0.0] * 4]


def test_fixed_statistics_do_not_depend_on_the_batch():
    features = torch.randn(64, 4, generator=torch.Generator().manual_seed(3))
    head = build_head([4], 8, 0.0, 3, seed=0)
    head.standardisation.fit(features)
    head.standardisation.fixed = True
    before = {name: value.clone() for name, value in head[0].state_dict().items()}
    head.train()
    torch.testing.assert_close(head[0](features[:8]), head[0](features)[:8])
    assert all(torch.equal(before[name], value) for name, value in head[0].state_dict().items())
    assert head[3].training  # dropout still draws
