"""The best epoch and the end of patience."""

from __future__ import annotations

import pytest
import torch

from tests.unit.training.toy_training import EPOCHS, Toy, train_toy


@pytest.mark.parametrize(("mode", "best"), [("min", 1), ("max", 0)])
def test_patience_ends_training_and_the_best_epoch_is_kept(mode, best):
    losses = [3.0, 1.0, 1.0, 2.0]  # a tie is no improvement
    states = []
    module = Toy()

    def measure(epoch):
        states.append({name: value.clone() for name, value in module.state_dict().items()})
        return {"val/loss": losses[epoch]}

    _, result = train_toy(module, end_of_epoch=measure, monitor="val/loss", mode=mode, patience=2)
    assert result.best_epoch == best + 1 and result.best_row == result.history[best]
    assert len(result.history) == best + 3
    assert all(torch.equal(result.best_state[name], value) for name, value in states[best].items())


def test_without_a_monitor_the_last_epoch_is_best():
    module, result = train_toy()
    assert result.best_epoch == EPOCHS and result.best_row == result.history[-1]
    assert all(torch.equal(result.best_state[name], value) for name, value in module.state_dict().items())
