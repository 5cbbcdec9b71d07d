"""The loop: exact resuming, refused resume states, losses that are not finite, the schedule."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from components.backbones import CpuProfile
from components.errors import CheckpointError, SettingsError, TrainingError
from components.log import SilentLog
from components.training import Session, adamw, fit, generator, open_session, shuffled

FP32 = CpuProfile(precision="32-true", channels_last=True)
IMAGES = torch.tensor(np.random.default_rng(0).normal(size=(22, 3, 6, 6)), dtype=torch.float32)
TARGETS = IMAGES.mean(dim=(1, 2, 3))[:, None] * 5
EPOCHS, BATCH = 4, 5
STEPS = len(shuffled(len(IMAGES), BATCH, 0, 0))


class Toy(pl.LightningModule):
    """Convolution, BatchNorm and dropout: everything that has a state or draws numbers."""

    def __init__(self, rate: float = 0.01) -> None:
        super().__init__()
        torch.manual_seed(0)
        trunk = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.net = nn.Sequential(*trunk, nn.Dropout(0.3), nn.Linear(4, 1))
        self.rate = rate

    def training_step(self, batch, _):
        images, targets = batch
        error = (self.net(images) - targets).square().mean()
        penalty = self.net[0].weight.square().mean()
        return {"loss": error + 0.1 * penalty, "error": error, "penalty": penalty}

    def configure_optimizers(self):
        return adamw(self, self.rate, 0.05, EPOCHS * STEPS)


def _session(checkpoint=None, **changes) -> Session:
    session = open_session("cpu", cpu=FP32, seed=0, checkpoint=checkpoint, log=SilentLog())
    return dataclasses.replace(session, **changes)


def _batches(epoch: int, stop_in: int | None = None):
    for step, rows in enumerate(shuffled(len(IMAGES), BATCH, 0, epoch)):
        if epoch == stop_in and step == 2:
            raise KeyError("killed")
        yield IMAGES[rows], TARGETS[rows]


def _train(module=None, session=None, log=None, stop_in=None, batches=None, **changes):
    module = module or Toy()
    given = {
        "epochs": EPOCHS,
        "session": session or _session(),
        "log": log or SilentLog(),
        "settings": {"finetune": {"learning_rate": 0.01}},
        "end_of_epoch": lambda epoch: {"val/loss": float((module.net(IMAGES) - TARGETS).square().mean())},
        "what": "toy",
    }
    result = fit(module, batches or (lambda epoch: _batches(epoch, stop_in)), STEPS, **(given | changes))
    return module, result


def _same(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == twin and torch.equal(value, copy) for (name, value), (twin, copy) in pairs)


@pytest.fixture(scope="module")
def straight():
    return _train(monitor="val/loss")


@pytest.mark.parametrize("stop_in", [1, 3])
def test_killed_and_resumed_equals_one_run_to_the_last_bit(tmp_path, straight, stop_in):
    session = _session(tmp_path / "state")
    with pytest.raises(KeyError, match="killed"):
        _train(session=session, stop_in=stop_in, monitor="val/loss")
    log = SilentLog()
    module, result = _train(session=session, log=log, monitor="val/loss")
    assert _same(module, straight[0])
    assert result.history == straight[1].history
    assert result.best_epoch == straight[1].best_epoch
    assert all(torch.equal(result.best_state[name], value) for name, value in straight[1].best_state.items())
    assert log.lines == [f"toy: going on after epoch {stop_in} of 4"]
    assert log.points == list(enumerate(result.history))


def test_the_resume_state_stays_until_it_is_forgotten(tmp_path, straight):
    """A kill between the last epoch and the saved result loses nothing: the next run trains no more."""
    session = _session(tmp_path / "state")
    _train(session=session, monitor="val/loss")
    _, result = _train(session=session, monitor="val/loss", batches=lambda epoch: pytest.fail("trained again"))
    assert result.history == straight[1].history
    session.forget()
    assert not (tmp_path / "state").exists()


def test_same_seed_same_bits(straight):
    module, result = _train(monitor="val/loss")
    assert _same(module, straight[0]) and result.history == straight[1].history


def test_another_seed_draws_other_dropout(straight):
    _, result = _train(session=_session(seed=1))
    assert result.history != straight[1].history


def test_a_resume_state_of_other_settings_is_refused(tmp_path):
    session = _session(tmp_path)
    with pytest.raises(KeyError):
        _train(session=session, stop_in=1)
    changed = {"finetune": {"learning_rate": 0.02}}
    told = r"toy: .*last.ckpt was made with finetune.learning_rate = 0.01, but now it is 0.02: delete .* set"
    with pytest.raises(CheckpointError, match=told):
        _train(session=session, settings=changed)
    with pytest.raises(CheckpointError, match="seed = 0, but now it is 7"):
        _train(session=_session(tmp_path, seed=7))


def test_a_broken_resume_state_is_named(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"no")
    with pytest.raises(CheckpointError, match=r"(?s)last.ckpt: is no resume state .* delete"):
        _train(session=_session(tmp_path))


def test_an_infinite_loss_stops_with_epoch_step_and_terms():
    def poisoned(epoch):
        for step, (images, targets) in enumerate(_batches(epoch)):
            yield images, targets / (0 if (epoch, step) == (1, 2) else 1)

    told = r"toy: the loss is not finite in epoch 2, step 3: loss = inf, error = inf, penalty = 0\.\d+; .*learning_rate"
    with pytest.raises(TrainingError, match=told):
        _train(batches=poisoned)


def test_a_measured_loss_that_is_not_finite_stops():
    with pytest.raises(TrainingError, match="not finite after epoch 1: val/loss = nan"):
        _train(end_of_epoch=lambda epoch: {"val/loss": math.nan})


def test_nothing_to_learn_from_is_an_error():
    with pytest.raises(TrainingError, match="0 epochs"):
        _train(epochs=0)


def test_an_unknown_monitor_names_what_there_is():
    with pytest.raises(TrainingError, match=r"monitor = 'val/f1' is none of \['fit/error', .*'val/loss'\]"):
        _train(monitor="val/f1")


@pytest.mark.parametrize(("mode", "best"), [("min", 1), ("max", 0)])
def test_patience_ends_training_and_the_best_epoch_is_kept(mode, best):
    losses = [3.0, 1.0, 1.0, 2.0]  # a tie is no improvement
    states = []
    module = Toy()

    def measure(epoch):
        states.append({name: value.clone() for name, value in module.state_dict().items()})
        return {"val/loss": losses[epoch]}

    _, result = _train(module, end_of_epoch=measure, monitor="val/loss", mode=mode, patience=2)
    assert result.best_epoch == best
    assert len(result.history) == best + 3
    assert all(torch.equal(result.best_state[name], value) for name, value in states[best].items())


def test_without_a_monitor_the_last_epoch_is_best(straight):
    module, result = _train()
    assert result.best_epoch == EPOCHS - 1
    assert all(torch.equal(result.best_state[name], value) for name, value in module.state_dict().items())


def test_the_end_of_epoch_measures_in_evaluation_mode_without_gradients():
    seen = []
    module = Toy()
    _train(module, epochs=2, end_of_epoch=lambda epoch: seen.append((module.training, torch.is_grad_enabled())) or {})
    assert seen == [(False, False)] * 2


def test_history_holds_the_mean_of_each_term():
    terms = []

    class Told(Toy):
        def training_step(self, batch, index):
            result = super().training_step(batch, index)
            terms.append({name: float(value.detach()) for name, value in result.items()})
            return result

    _, result = _train(Told(), epochs=1)
    for name in ("loss", "error", "penalty"):
        assert result.history[0][f"fit/{name}"] == pytest.approx(np.mean([step[name] for step in terms]), rel=1e-6)


def test_bf16_trains_on_a_cpu():
    _, result = _train(session=_session(precision="bf16-mixed"), epochs=1)
    assert math.isfinite(result.history[0]["fit/loss"])


def test_every_image_comes_once_an_epoch_in_a_new_order():
    first, second = (np.concatenate(shuffled(23, 5, 0, epoch)) for epoch in range(2))
    assert sorted(first) == sorted(second) == list(range(23))
    assert not np.array_equal(first, second)


def test_a_rest_of_one_image_is_left_out():
    assert [len(rows) for rows in shuffled(11, 5, 0, 0)] == [5, 5]
    assert [len(rows) for rows in shuffled(1, 5, 0, 0)] == [1]


def test_generators_of_different_keys_are_different():
    keys = [(seed, epoch) for seed in range(5) for epoch in range(5)]
    assert len({generator(*key).integers(2**60) for key in keys}) == 25
    assert generator(3, 4).integers(2**60) == generator(3, 4).integers(2**60)


def test_biases_and_norms_are_not_decayed():
    module = Toy()
    decayed, plain = adamw(module, 0.01, 0.05, 10)["optimizer"].param_groups
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.05, 0.0)
    assert [weight.ndim for weight in decayed["params"]] == [4, 2]
    assert all(weight.ndim == 1 for weight in plain["params"]) and len(plain["params"]) == 4


def test_the_learning_rate_rises_to_its_peak_and_falls_to_zero():
    parts = adamw(Toy(), 0.01, 0.0, 100)
    optimizer, schedule = parts["optimizer"], parts["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.001) and max(rates) == pytest.approx(0.01) and np.argmax(rates) in (9, 10)
    assert rates[55] == pytest.approx(0.01 * 0.5 * (1 + math.cos(math.pi * 45 / 90)))
    assert rates[-1] < 1e-5


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_where_it_runs_is_told_in_one_line():
    log = SilentLog()
    session = open_session(cpu=FP32, seed=0, checkpoint=None, log=log)
    assert log.lines == ["no GPU found: running on the CPU, 1 thread, fp32, channels_last"]
    assert (session.device, session.precision, session.channels_last) == ("cpu", "32-true", True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_asking_for_a_missing_gpu_is_an_error():
    with pytest.raises(SettingsError, match=r"compute.device = 'cuda': torch finds no GPU; set auto or cpu"):
        open_session("cuda", cpu=FP32, seed=0, checkpoint=None, log=SilentLog())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu_killed_and_resumed_equals_one_run(tmp_path):
    def session(checkpoint=None):
        return open_session(cpu=FP32, seed=0, checkpoint=checkpoint, log=SilentLog())

    whole, expected = _train(session=session(), end_of_epoch=lambda epoch: {})
    with pytest.raises(KeyError):
        _train(session=session(tmp_path), end_of_epoch=lambda epoch: {}, stop_in=2)
    resumed, result = _train(session=session(tmp_path), end_of_epoch=lambda epoch: {})
    assert _same(resumed, whole) and result.history == expected.history
