"""The identical head, the losses against torch and a naive loop, and a frozen encoder that stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from components.base.errors import CheckpointError
from components.models.backbones.timm import Config as Timm
from components.models.classifier import Classifier, build_head, predict
from components.models.encoder import weights_sha256
from components.models.weights_file import load_classifier, save_classifier
from components.training.batches import balanced_batches
from components.training.epoch_metrics import describe_gap, measure
from components.training.learner import Learner
from components.training.loop import generator
from components.training.losses import build_objective, class_weights, focal_loss, weighted_cross_entropy
from components.training.optimizers import adamw

BACKBONE = Timm(name="test_efficientnet")
CLASSES = ("akiec", "mel", "nv")


def _classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    encoder = BACKBONE.build()
    return Classifier(encoder, build_head(encoder.feature_dim, 8, 0.2, len(CLASSES), seed))


def _images(count: int = 6) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))


def _logits() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    return torch.tensor(rng.normal(size=(40, 3)) * 3), torch.tensor(rng.integers(0, 3, 40))


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


def test_balanced_batches_draw_classes_equally_often_and_images_of_the_right_class():
    labels = np.array([0] * 30 + [2] * 5 + [3] * 2)
    batches = balanced_batches(labels, 8, generator(0, 0))
    drawn = np.concatenate(batches)
    counts = np.bincount(labels[drawn], minlength=4)
    assert counts[1] == 0 and counts[[0, 2, 3]].max() - counts[[0, 2, 3]].min() <= 1
    assert [len(rows) for rows in batches] == [8, 8, 8, 8, 5]
    assert not np.array_equal(drawn, np.concatenate(balanced_batches(labels, 8, generator(0, 1))))


def test_output_has_one_logit_a_class_and_every_parameter_gets_a_gradient():
    classifier = _classifier()
    logits = classifier(_images() / 255)
    assert logits.shape == (6, 3) and torch.isfinite(logits).all()
    functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0, 1, 2])).backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in classifier.parameters())


def _fit_by_hand(protocol: str, steps: int) -> tuple[Classifier, list[float]]:
    classifier = _classifier()
    objective = build_objective("none", np.arange(3), 3, 2.0)
    learner = Learner(classifier, protocol, objective, lambda module: adamw(module, 0.01, 0.0, steps)).train()
    optimizer = learner.configure_optimizers()["optimizer"]
    losses = []
    for step in range(steps):
        loss = learner.training_step((_images(), torch.tensor([0, 1, 2, 0, 1, 2])), step)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return classifier, losses


def test_a_frozen_encoder_does_not_move_batchnorms_statistics_included():
    before = {name: value.clone() for name, value in _classifier().encoder.state_dict().items()}
    classifier, losses = _fit_by_hand("frozen", 5)
    after = classifier.encoder.state_dict()
    assert any("running_mean" in name for name in after)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert losses[-1] != losses[0]


def test_full_moves_the_encoder():
    before = weights_sha256(_classifier().encoder)
    assert weights_sha256(_fit_by_hand("full", 2)[0].encoder) != before


def test_one_batch_is_learned_by_heart():
    _, losses = _fit_by_hand("full", 40)
    assert losses[-1] < 0.1 * losses[0]


def test_measures_equal_those_of_scikit_learn():
    from sklearn import metrics as sk

    classifier = _classifier().eval()
    labels = np.array([0, 1, 2, 0, 1, 2])
    with torch.no_grad():
        features = classifier.encoder(_images() / 255)
        found = measure(classifier.head, features, labels)
        probabilities = classifier(_images() / 255).double().softmax(1).numpy()
    assert found["loss"] == pytest.approx(sk.log_loss(labels, probabilities), rel=1e-5)
    assert found["accuracy"] == sk.accuracy_score(labels, probabilities.argmax(1))
    assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(labels, probabilities.argmax(1)))
    assert found["macro_auroc"] == pytest.approx(sk.roc_auc_score(labels, probabilities, multi_class="ovr"))


def test_measuring_draws_no_dropout_and_leaves_the_mode_as_it_was():
    head = build_head(10, 8, 0.5, 3, seed=0).train()
    features, labels = torch.rand(5, 10), np.array([0, 1, 2, 0, 1])
    assert measure(head, features, labels) == measure(head, features, labels)
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


def test_predictions_are_probabilities_and_do_not_depend_on_the_batches():
    classifier = _classifier().train()
    whole = predict(classifier, [_images()])
    parts = predict(classifier, _images().split(4))
    assert whole.shape == (6, 3) and whole.dtype == np.float64
    np.testing.assert_allclose(whole.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(whole, parts, atol=1e-6)


def _save(path, classifier):
    header = {"classes": CLASSES, "head": {"hidden": 8, "dropout": 0.2}, "run": "vae-full-0"}
    save_classifier(path, classifier.state_dict(), BACKBONE, header)


def test_a_saved_classifier_gives_the_same_predictions(tmp_path):
    classifier = _classifier()
    _save(tmp_path / "a.safetensors", classifier)
    _save(tmp_path / "b.safetensors", classifier)
    loaded = load_classifier(tmp_path / "a.safetensors", BACKBONE, CLASSES)
    np.testing.assert_array_equal(predict(loaded, [_images()]), predict(classifier, [_images()]))
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_classifier_of_other_classes_or_backbone_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    _save(path, _classifier())
    told = r"made for classes \['akiec', 'mel', 'nv'\], but labels.scheme .* \['mel', 'nv'\]; rerun the stage finetune"
    with pytest.raises(CheckpointError, match=told):
        load_classifier(path, BACKBONE, ("mel", "nv"))
    with pytest.raises(CheckpointError, match=r"backbone.name = 'test_efficientnet', but now it is 'test_convnext'"):
        load_classifier(path, Timm(name="test_convnext"), CLASSES)
