"""Training losses against torch, scikit-learn and naive loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from components.training.losses import build_objective, class_weights, focal_loss, weighted_cross_entropy


def _logits() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    return torch.tensor(rng.normal(size=(40, 3)) * 3), torch.tensor(rng.integers(0, 3, 40))


def test_class_weights_are_inverse_frequencies_with_mean_one_over_images():
    labels = np.array([0] * 6 + [1] * 3 + [3])
    weights = class_weights(labels, 4)
    assert weights[labels].mean() == pytest.approx(1)
    assert float(weights[1] / weights[0]) == pytest.approx(2) and float(weights[3] / weights[0]) == pytest.approx(6)
    assert weights[2] == 0


def test_class_weights_equal_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    labels = np.random.default_rng(0).integers(0, 3, 50)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(class_weights(labels, 3), expected, rtol=1e-6)


def test_weighted_loss_equals_a_naive_loop():
    logits, labels = _logits()
    weights = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
    terms = [-weights[k] * logits[i].softmax(0)[k].log() for i, k in enumerate(labels)]
    assert weighted_cross_entropy(logits, labels, weights) == pytest.approx(float(sum(terms)) / 40)


def test_focal_loss_equals_the_formula_and_is_cross_entropy_at_gamma_zero():
    logits, labels = _logits()
    p = logits.softmax(1)[torch.arange(40), labels]
    assert focal_loss(logits, labels, 2.0) == pytest.approx(float((-((1 - p) ** 2) * p.log()).mean()))
    assert focal_loss(logits, labels, 0.0) == pytest.approx(float(functional.cross_entropy(logits, labels)))


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_loss_of_a_sure_answer_has_a_finite_gradient(gamma):
    logits = torch.tensor([[200.0, 0.0], [0.0, 200.0]], requires_grad=True)
    focal_loss(logits, torch.tensor([0, 0]), gamma).backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("imbalance", ["none", "weights", "sampling", "focal"])
def test_every_objective_is_finite_and_falls_when_the_answer_is_right(imbalance):
    objective = build_objective(imbalance, np.array([0, 1, 1, 2]), 3, 2.0)
    labels = torch.tensor([0, 1, 2])
    right, wrong = (objective(sign * 3 * torch.eye(3), labels) for sign in (1, -1))
    assert 0 <= right < wrong < 100


def test_none_and_sampling_are_plain_cross_entropy():
    logits, labels = _logits()
    for imbalance in ("none", "sampling"):
        objective = build_objective(imbalance, labels.numpy(), 3, 2.0)
        assert objective(logits, labels) == functional.cross_entropy(logits, labels)


@pytest.mark.parametrize("weights", [None, [0.5, 1.0, 2.0]])
def test_label_smoothing_equals_torchs(weights):
    """torch's own divides by the batch's weights only where it takes the mean."""
    logits, labels = _logits()
    counted = np.repeat([0, 1, 2], [4, 2, 1])  # inverse frequencies 0.583, 1.167, 2.333
    given = class_weights(counted, 3).double() if weights else None
    expected = functional.cross_entropy(logits, labels, given, label_smoothing=0.2, reduction="none").mean()
    objective = build_objective("weights" if weights else "none", counted, 3, 2.0, label_smoothing=0.2)
    assert float(objective(logits, labels)) == pytest.approx(float(expected))


@pytest.mark.parametrize("imbalance", ["none", "weights", "sampling", "focal"])
def test_the_loss_of_a_mixture_is_the_mixture_of_its_losses(imbalance):
    logits, labels = _logits()
    partners = labels.roll(1)
    objective = build_objective(imbalance, np.repeat([0, 1, 2], [4, 2, 1]), 3, 2.0)
    hard = torch.eye(3, dtype=torch.float64)
    shares = 0.3 * hard[labels] + 0.7 * hard[partners]
    expected = 0.3 * objective(logits, labels) + 0.7 * objective(logits, partners)
    assert float(objective(logits, shares)) == pytest.approx(float(expected))
    assert float(objective(logits, hard[labels])) == pytest.approx(float(objective(logits, labels)))


def test_smoothed_focal_loss_equals_a_naive_loop():
    logits, labels = _logits()
    p = logits.softmax(1)
    terms = [
        (0.9 * (k == labels[i]) + 0.1 / 3) * (-((1 - p[i, k]) ** 2) * p[i, k].log())
        for i in range(40)
        for k in range(3)
    ]
    objective = build_objective("focal", labels.numpy(), 3, 2.0, label_smoothing=0.1)
    assert float(objective(logits, labels)) == pytest.approx(float(sum(terms)) / 40)


def test_smoothing_zero_leaves_the_loss_to_the_last_bit():
    logits, labels = _logits()
    assert build_objective("none", labels.numpy(), 3, 2.0, 0.0)(logits, labels) == functional.cross_entropy(
        logits, labels
    )
