"""The metrics after each epoch against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from components.models.backbones.timm import Config as Timm
from components.models.classifier import Classifier, build_head
from components.statistics.metrics.log_loss import WORST, log_loss
from components.training.epoch_metrics import describe_gap, image_losses, mean_loss, measure
from tests.unit.training.small_settings import CLASSES

BACKBONE = Timm(name="test_efficientnet")


def _classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    encoder = BACKBONE.build()
    return Classifier(encoder, build_head(encoder.feature_sizes, 8, 0.2, len(CLASSES), seed))


def _images(count: int = 6) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))


def test_metrics_equal_those_of_scikit_learn():
    from sklearn import metrics as sk

    classifier = _classifier().eval()
    labels = np.array([0, 1, 2, 0, 1, 2])
    with torch.no_grad():
        features = classifier.encoder(_images() / 255)
        measured = measure(classifier.head, features, labels)
        probabilities = classifier(_images() / 255).double().softmax(1).numpy()
    found = measured.metrics
    assert found["loss"] == pytest.approx(sk.log_loss(labels, probabilities), rel=1e-5)
    assert found["accuracy"] == sk.accuracy_score(labels, probabilities.argmax(1))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, probabilities.argmax(1)))
    assert found["macro_auroc"] == pytest.approx(sk.roc_auc_score(labels, probabilities, multi_class="ovr"))
    by_image = -np.log(probabilities[np.arange(6), labels])
    assert measured.losses.numpy() == pytest.approx(by_image, rel=1e-5)
    assert measured.predicted.tolist() == probabilities.argmax(1).tolist()


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4])  # of logits: losses up to a few, hundreds and thousands of nats
def test_loss_of_the_curve_is_that_of_the_predictions(scale: float):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 50)
    logits = torch.from_numpy(rng.normal(0, scale, (50, 3)))
    predicted = log_loss(labels, logits.softmax(1).numpy())
    assert mean_loss(logits, labels) == pytest.approx(predicted, rel=1e-12)
    losses = image_losses(logits, labels)
    assert float(losses.mean()) == pytest.approx(predicted, rel=1e-12) and float(losses.max()) <= WORST
    if scale < 1e4:
        assert mean_loss(logits, labels) == float(functional.cross_entropy(logits, torch.from_numpy(labels)))


def test_measuring_draws_no_dropout_and_leaves_the_mode_as_it_was():
    head = build_head([10], 8, 0.5, 3, seed=0).train()
    features, labels = torch.rand(5, 10), np.array([0, 1, 2, 0, 1])
    assert measure(head, features, labels).metrics == measure(head, features, labels).metrics
    assert head.training


def test_the_gap_is_positive_when_overfitting():
    train = {"loss": 0.2, "accuracy": 0.9, "balanced_accuracy": 0.8, "macro_auroc": 0.95}
    val = {"loss": 0.5, "accuracy": 0.7, "balanced_accuracy": 0.6, "macro_auroc": 0.85}
    row = describe_gap(train, val)
    gaps = {name: value for name, value in row.items() if name.startswith("gap/")}
    assert gaps == pytest.approx(
        {"gap/loss": 0.3, "gap/accuracy": 0.2, "gap/balanced_accuracy": 0.2, "gap/macro_auroc": 0.1}
    )
    assert row["val/loss"] == 0.5 and row["train/balanced_accuracy"] == 0.8
