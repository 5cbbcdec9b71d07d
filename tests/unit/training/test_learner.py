"""The module of fine-tuning: a frozen encoder stays as it is, the average and the learning rates by depth."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from components.base.log import SilentLog
from components.models.backbones.timm import Config as Timm
from components.models.classifier import Classifier, build_head
from components.models.encoder import weights_sha256
from components.training.learner import Learner, build_learner
from components.training.loop import fit
from components.training.losses import build_objective
from components.training.optimizers import adamw
from tests.unit.training.small_settings import CLASSES, cpu_session, small_conditions

BACKBONE = Timm(name="test_efficientnet")


def _classifier(seed: int = 0) -> Classifier:
    torch.manual_seed(seed)
    encoder = BACKBONE.build()
    return Classifier(encoder, build_head(encoder.feature_sizes, 8, 0.2, len(CLASSES), seed))


def _images(count: int = 6) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))


def _fit_by_hand(trains: str, steps: int) -> tuple[Classifier, list[float]]:
    classifier = _classifier()
    objective = build_objective("none", np.arange(3), 3, 2.0)
    learner = Learner(
        classifier, trains=trains, objective=objective, build_optimizer=lambda module: adamw(module, 0.01, 0.0, steps)
    ).train()
    optimizer = learner.configure_optimizers()["optimizer"]
    losses = []
    for step in range(steps):
        loss = learner.training_step((_images(), torch.tensor([0, 1, 2, 0, 1, 2])), step)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return classifier, losses


def test_a_frozen_encoder_does_not_change_batchnorms_statistics_included():
    before = {name: value.clone() for name, value in _classifier().encoder.state_dict().items()}
    classifier, losses = _fit_by_hand("head", 5)
    after = classifier.encoder.state_dict()
    assert any("running_mean" in name for name in after)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert losses[-1] != losses[0]


def test_training_all_changes_the_encoder():
    before = weights_sha256(_classifier().encoder)
    assert weights_sha256(_fit_by_hand("all", 2)[0].encoder) != before


def test_one_batch_is_overfitted():
    _, losses = _fit_by_hand("all", 40)
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("trains", ["head", "all"])
def test_the_moving_average_equals_its_closed_form(trains):
    """After T steps: d^(T-1) w_1 + (1 - d) sum over t from 2 of d^(T-t) w_t, BatchNorm's statistics included."""

    d, steps = 0.8, 6
    classifier = _classifier()
    objective = build_objective("none", np.arange(3), 3, 2.0)
    learner = Learner(
        classifier, trains=trains, objective=objective, build_optimizer=lambda m: adamw(m, 0.01, 0.0, steps), ema=d
    )
    seen = []

    class Watch(pl.Callback):
        def on_train_batch_end(self, *_):
            seen.append({name: w.detach().clone().double() for name, w in learner.net.state_dict().items()})

    batch = (torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8), torch.arange(6) % 3)
    session = cpu_session(BACKBONE.cpu)
    given = {"epochs": 2, "session": session, "log": SilentLog(), "settings": {}, "what": "toy"}
    fit(learner, lambda _: [batch] * 3, 3, **given, end_of_epoch=lambda _: {}, callbacks=[Watch()])
    assert len(seen) == steps
    for name, found in learner.evaluated.state_dict().items():
        if not found.is_floating_point():
            continue
        expected = d ** (steps - 1) * seen[0][name] + sum(
            (1 - d) * d ** (steps - 1 - t) * seen[t][name] for t in range(1, steps)
        )
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    assert any(
        not torch.equal(found.double(), seen[-1][name]) for name, found in learner.evaluated.state_dict().items()
    )


def test_learning_rates_fall_from_the_head_to_the_images():
    classifier, conditions = _classifier(), small_conditions(layer_decay=0.5)
    learner = build_learner(classifier, conditions.phases[0], conditions, np.arange(3), 3)
    groups = learner.configure_optimizers()["optimizer"].param_groups
    rates = {id(weight): group["initial_lr"] for group in groups for weight in group["params"]}
    names = {name: rates[id(weight)] for name, weight in classifier.named_parameters()}
    assert {rate for name, rate in names.items() if name.startswith("head")} == {0.01}
    assert names["encoder.trunk.conv_stem.weight"] == pytest.approx(0.01 * 0.5**6)
    assert names["encoder.trunk.conv_head.weight"] == pytest.approx(0.01 * 0.5)
