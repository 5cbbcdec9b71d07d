"""What a training evaluates and logs after each epoch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from components.base.errors import TrainingError
from components.base.log import SilentLog
from tests.unit.training.toy_training import Sgd, Toy, toy_batches, train_toy


def test_an_unknown_monitor_names_what_there_is():
    with pytest.raises(TrainingError, match=r"monitor = 'val/f1' is none of \['fit/error', .*'val/loss'\]"):
        train_toy(monitor="val/f1")


def test_the_end_of_epoch_measures_in_evaluation_mode_without_gradients():
    seen = []
    module = Toy()
    train_toy(
        module, epochs=2, end_of_epoch=lambda epoch: seen.append((module.training, torch.is_grad_enabled())) or {}
    )
    assert seen == [(False, False)] * 2


def test_history_holds_the_mean_of_each_term():
    terms = []

    class Reported(Toy):
        def training_step(self, batch, index):
            result = super().training_step(batch, index)
            terms.append({name: float(value.detach()) for name, value in result.items()})
            return result

    _, result = train_toy(Reported(), epochs=1)
    for name in ("loss", "error", "penalty"):
        assert result.history[0][f"fit/{name}"] == pytest.approx(np.mean([step[name] for step in terms]), rel=1e-6)


def test_the_log_hears_of_health_and_cost_and_the_history_does_not():
    log = SilentLog()
    _, result = train_toy(Sgd(), log=log, epochs=1, gradient_clip=1e-3)
    twin, norms = Sgd(), []
    optimiser = twin.configure_optimizers()
    for batch in toy_batches(0):  # the norms before clipping, by hand
        optimiser.zero_grad()
        twin.training_step(batch, 0)["loss"].backward()
        norms.append(math.sqrt(sum(float(w.grad.double().square().sum()) for w in twin.parameters())))
        nn.utils.clip_grad_norm_(twin.parameters(), 1e-3)
        optimiser.step()
    ((_, row),) = log.points
    assert row["fit/gradient_norm"] == pytest.approx(np.mean(norms), rel=1e-5)
    assert row["fit/gradient_norm_max"] == pytest.approx(max(norms), rel=1e-5)
    extra = {"images_per_second", "data_wait_share", "peak_memory_gib"}
    expected = {"fit/gradient_norm", "fit/gradient_norm_max"} | {f"system/{name}" for name in extra}
    assert set(row) - set(result.history[0]) == expected
    assert 0.05 < row["system/peak_memory_gib"] < 64
