"""The loop: a training that was killed and continues equals one that was not, to the last bit."""

from __future__ import annotations

import math

import pytest
import pytorch_lightning as pl
import torch

from components.base.errors import TrainingError
from components.base.log import SilentLog
from components.training.batches import EpochBatches, shuffled_batches
from components.training.session import open_session
from tests.unit.training.small_settings import FP32, small_compute
from tests.unit.training.toy_training import BATCH, IMAGES, TARGETS, logged_rows, same_weights, toy_session, train_toy


@pytest.mark.parametrize("stop_in", [1, 3])
def test_killed_and_resumed_equals_one_run_to_the_last_bit(tmp_path, straight, stop_in):
    session = toy_session(tmp_path / "state")
    with pytest.raises(KeyError, match="killed"):
        train_toy(session=session, stop_in=stop_in, monitor="val/loss")
    log = SilentLog()
    module, result = train_toy(session=session, log=log, monitor="val/loss")
    assert same_weights(module, straight[0])
    assert result.history == straight[1].history
    assert result.best_epoch == straight[1].best_epoch
    assert all(torch.equal(result.best_state[name], value) for name, value in straight[1].best_state.items())
    assert log.lines == [f"toy: continuing after epoch {stop_in} of 4"]
    assert logged_rows(log) == list(enumerate(result.history, start=1))


def test_the_resume_state_stays_until_it_is_forgotten(tmp_path, straight):
    """A kill between the last epoch and the saved result loses nothing: the next run trains no more."""
    session = toy_session(tmp_path / "state")
    train_toy(session=session, monitor="val/loss")
    _, result = train_toy(session=session, monitor="val/loss", batches=lambda epoch: pytest.fail("trained again"))
    assert result.history == straight[1].history
    session.forget()
    assert not (tmp_path / "state").exists()


def test_same_seed_same_bits(straight):
    module, result = train_toy(monitor="val/loss")
    assert same_weights(module, straight[0]) and result.history == straight[1].history


def test_another_seed_draws_other_dropout(straight):
    _, result = train_toy(session=toy_session(seed=1))
    assert result.history != straight[1].history


def test_within_an_epoch_skipped_batches_are_not_drawn(tmp_path, straight):
    """Killed after step 2 of the third epoch, resumed from the state written there."""
    session = toy_session(tmp_path, checkpoint_steps=1)
    with pytest.raises(KeyError):
        train_toy(session=session, stop_in=2, monitor="val/loss")
    drawn, log = [], SilentLog()

    def draw(step, rows, first):
        assert first == BATCH * step
        drawn.append(step)
        return IMAGES[rows], TARGETS[rows]

    def batches(epoch):
        return EpochBatches(shuffled_batches(len(IMAGES), BATCH, 0, epoch), draw)

    module, result = train_toy(session=session, log=log, monitor="val/loss", batches=batches)
    assert log.lines == ["toy: continuing after epoch 2 of 4, step 2 of the next"]
    assert drawn == [2, 3, 4, 0, 1, 2, 3, 4]
    assert same_weights(module, straight[0]) and result.history == straight[1].history
    assert logged_rows(log) == list(enumerate(result.history, start=1))


class Averaged(pl.Callback):
    """A moving average beside the module, as a callback that has a state."""

    def __init__(self) -> None:
        self.mean = torch.zeros(1)

    def on_train_batch_end(self, trainer, module, *_):
        self.mean = 0.9 * self.mean + 0.1 * module.net[6].bias.detach()

    def state_dict(self):
        return {"mean": self.mean}

    def load_state_dict(self, state_dict):
        self.mean = state_dict["mean"]


def test_a_callback_continues_with_its_own_state(tmp_path):
    straight, killed, resumed = Averaged(), Averaged(), Averaged()
    train_toy(callbacks=[straight])
    session = toy_session(tmp_path, checkpoint_steps=1)
    with pytest.raises(KeyError):
        train_toy(session=session, stop_in=2, callbacks=[killed])
    train_toy(session=session, callbacks=[resumed])
    assert straight.mean != 0 and torch.equal(resumed.mean, straight.mean)
    assert not torch.equal(killed.mean, straight.mean)


def test_a_callback_gets_its_state_where_no_epoch_is_left(tmp_path):
    first, resumed = Averaged(), Averaged()
    train_toy(session=toy_session(tmp_path), callbacks=[first])
    train_toy(session=toy_session(tmp_path), callbacks=[resumed])
    assert first.mean != 0 and torch.equal(resumed.mean, first.mean)


def test_nothing_to_learn_from_is_an_error():
    with pytest.raises(TrainingError, match="0 epochs"):
        train_toy(epochs=0)


@pytest.mark.parametrize("clip", [None, 0.1])
def test_bf16_trains_on_a_cpu(clip):
    _, result = train_toy(session=toy_session(precision="bf16-mixed"), epochs=1, gradient_clip=clip)
    assert math.isfinite(result.history[0]["fit/loss"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu_killed_and_resumed_equals_one_run(tmp_path):
    def session(checkpoint=None):
        return open_session(small_compute(device="auto"), cpu=FP32, seed=0, checkpoint=checkpoint, log=SilentLog())

    whole, expected = train_toy(session=session(), end_of_epoch=lambda epoch: {})
    with pytest.raises(KeyError):
        train_toy(session=session(tmp_path), end_of_epoch=lambda epoch: {}, stop_in=2)
    resumed, result = train_toy(session=session(tmp_path), end_of_epoch=lambda epoch: {})
    assert same_weights(resumed, whole) and result.history == expected.history
