"""The loop: exact resuming, refused resume states, losses that are not finite, the schedule."""

from __future__ import annotations

import dataclasses
import math
import time

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from components.base.errors import CheckpointError, SettingsError, TrainingError
from components.base.log import SilentLog
from components.models.backbone import CpuProfile
from components.training.batches import parts, pieces
from components.training.checkpoints import StaleStateError, forget_state, kept_until_end, set_aside
from components.training.loop import Epoch, Session, fit, generator, open_session, shuffled
from components.training.optimizers import adamw

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


def _told(log: SilentLog) -> list[tuple[int, dict[str, float]]]:
    """What a log heard, without what the history has not: health, and what the epoch cost."""
    extra = ("system/", "fit/gradient_norm")
    return [(step, {name: v for name, v in row.items() if not name.startswith(extra)}) for step, row in log.points]


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
    assert _told(log) == list(enumerate(result.history))


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
    with pytest.raises(CheckpointError, match=r'compute\.precision = "32-true", but now it is "bf16-mixed"'):
        _train(session=_session(tmp_path, precision="bf16-mixed"))


def test_a_resume_state_of_another_net_is_refused(tmp_path):
    """The settings are the same, the code is not."""
    with pytest.raises(KeyError):
        _train(session=_session(tmp_path), stop_in=1)
    wider, deeper = Toy(), Toy()
    wider.net[6] = nn.Linear(4, 2)
    deeper.more = nn.Linear(1, 1)
    for net, told in (
        (wider, r"holds \(1,\) as net.6.bias, the net has \(2,\)"),
        (deeper, "holds no tensor as more.b"),
    ):
        with pytest.raises(StaleStateError, match=rf"toy: .*last.ckpt {told}.*: other code made it; delete"):
            _train(net, session=_session(tmp_path))


def test_a_state_is_kept_to_the_end_of_what_follows_and_set_aside_once(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    with pytest.raises(KeyError), kept_until_end(folder):
        forget_state(folder)
        raise KeyError
    assert folder.exists(), "what failed afterwards is done again"
    with kept_until_end(folder):
        forget_state(folder)
        assert folder.exists()
    assert list(tmp_path.iterdir()) == []
    for number in range(2):
        folder.mkdir()
        (folder / str(number)).touch()
        assert set_aside(folder) == tmp_path / "state.aside"
    assert [path.name for path in tmp_path.rglob("*")] == ["state.aside", "1"]


def test_a_broken_resume_state_is_named(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"no")
    with pytest.raises(CheckpointError, match=r"(?s)last.ckpt: is no resume state .* delete"):
        _train(session=_session(tmp_path))


@pytest.mark.parametrize("broken", ["empty", "cut"])
def test_a_broken_newest_state_falls_back_on_the_former(tmp_path, straight, broken):
    session = _session(tmp_path)
    with pytest.raises(KeyError):
        _train(session=session, stop_in=3, monitor="val/loss")
    newest = tmp_path / "last.ckpt"
    newest.write_bytes(newest.read_bytes()[: 0 if broken == "empty" else 3000])
    log = SilentLog()
    module, result = _train(session=session, log=log, monitor="val/loss")
    assert log.lines[0] == f"toy: {newest} cannot be read, going on from {tmp_path}/former.ckpt, written before it"
    assert log.lines[1] == "toy: going on after epoch 2 of 4"
    assert _same(module, straight[0]) and result.history == straight[1].history


def test_within_an_epoch_skipped_batches_are_not_drawn(tmp_path, straight):
    """Killed after step 2 of the third epoch, resumed from the state written there."""
    session = _session(tmp_path, checkpoint_steps=1)
    with pytest.raises(KeyError):
        _train(session=session, stop_in=2, monitor="val/loss")
    drawn, log = [], SilentLog()

    def draw(step, rows, first):
        assert first == BATCH * step
        drawn.append(step)
        return IMAGES[rows], TARGETS[rows]

    def batches(epoch):
        return Epoch(shuffled(len(IMAGES), BATCH, 0, epoch), draw)

    module, result = _train(session=session, log=log, monitor="val/loss", batches=batches)
    assert log.lines == ["toy: going on after epoch 2 of 4, step 2 of the next"]
    assert drawn == [2, 3, 4, 0, 1, 2, 3, 4]
    assert _same(module, straight[0]) and result.history == straight[1].history
    assert _told(log) == list(enumerate(result.history))


class StateSeen(pl.Callback):
    """Whether a resume state is there as each step begins; batches are drawn ahead and cannot tell."""

    def __init__(self, folder) -> None:
        self.folder, self.seen = folder, []

    def on_train_batch_start(self, *_):
        self.seen.append((self.folder / "last.ckpt").exists())


def test_a_state_is_written_when_its_minutes_are_over(tmp_path):
    for minutes, expected in ((1e-9, [False, True, True, True, True]), (60, [False] * 5)):
        watch = StateSeen(tmp_path)
        session = _session(tmp_path, checkpoint_minutes=minutes)
        _train(session=session, callbacks=[watch], epochs=1)
        session.forget()
        assert watch.seen == expected


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


def test_a_callback_goes_on_with_its_own_state(tmp_path):
    straight, killed, resumed = Averaged(), Averaged(), Averaged()
    _train(callbacks=[straight])
    session = _session(tmp_path, checkpoint_steps=1)
    with pytest.raises(KeyError):
        _train(session=session, stop_in=2, callbacks=[killed])
    _train(session=session, callbacks=[resumed])
    assert straight.mean != 0 and torch.equal(resumed.mean, straight.mean)
    assert not torch.equal(killed.mean, straight.mean)


def test_an_infinite_loss_stops_with_epoch_step_and_terms():
    def poisoned(epoch):
        for step, (images, targets) in enumerate(_batches(epoch)):
            yield images, targets / (0 if (epoch, step) == (1, 2) else 1)

    told = r"toy: the loss is not finite in epoch 2, step 3: loss = inf, error = inf, penalty = 0\.\d+; .*learning_rate"
    with pytest.raises(TrainingError, match=told):
        _train(batches=poisoned)


def test_the_images_of_the_offending_batch_are_saved(tmp_path):
    def poisoned(epoch):
        def draw(step, rows, _first):
            return IMAGES[rows], TARGETS[rows] * (math.nan if (epoch, step) == (1, 2) else 1)

        return Epoch(shuffled(len(IMAGES), BATCH, 0, epoch), draw, names=lambda rows: [f"ISIC_{row}" for row in rows])

    log = SilentLog()
    with pytest.raises(
        TrainingError, match=rf"epoch 2, step 3: .*; its images stand in {tmp_path}/offending-batch.csv"
    ):
        _train(session=_session(tmp_path), batches=poisoned, log=log)
    assert log.artifacts == [("", tmp_path / "offending-batch.csv")]
    expected = [f"{row},ISIC_{row}" for row in shuffled(len(IMAGES), BATCH, 0, 1)[2]]
    assert (tmp_path / "offending-batch.csv").read_text().splitlines() == ["row,name", *expected]


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


class Plain(Toy):
    """Without BatchNorm and dropout: what a piece of a batch gives does not depend on the rest."""

    def __init__(self, rate: float = 0.01, room: int = 99) -> None:
        super().__init__(rate)
        self.net[1] = nn.GroupNorm(2, 4)
        self.net[5] = nn.Identity()
        self.room, self.seen = room, []

    def training_step(self, batch, index):
        self.seen.append(len(batch[0]))
        if len(batch[0]) > self.room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory (a GPU in this test's place)")
        return super().training_step(batch, index)


class Sgd(Plain):
    """Its weights are a linear function of the gradients; AdamW divides their rounding by next to nothing."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.5)


def _norms(log: SilentLog) -> list[float]:
    return [row["fit/gradient_norm"] for _, row in log.points]


def _equal_up_to_rounding(one, other, log, twin):
    for name, value in one[0].state_dict().items():
        torch.testing.assert_close(other[0].state_dict()[name], value, rtol=1e-5, atol=1e-6)
    for row, copy in zip(one[1].history, other[1].history, strict=True):
        assert copy == pytest.approx(row, rel=1e-5)
    assert _norms(twin) == pytest.approx(_norms(log), rel=1e-5)


def test_a_batch_in_pieces_gives_the_whole_batchs_loss_and_gradient():
    log, twin = SilentLog(), SilentLog()
    whole = _train(Sgd(), log=log)
    pieces = _train(Sgd(), log=twin, session=_session(micro_batch=3))
    assert set(whole[0].seen) == {5, 2} and set(pieces[0].seen) == {2, 3}
    _equal_up_to_rounding(whole, pieces, log, twin)


def test_out_of_gpu_memory_halves_the_pieces_and_goes_on_from_the_same_step():
    log, twin = SilentLog(), SilentLog()
    whole = _train(Sgd(), log=log, epochs=2)
    short = _train(Sgd(room=3), log=twin, epochs=2)
    told = "toy: out of GPU memory in epoch 1, step 1 with 5 images at once: going on with 3, the same batch in pieces"
    assert twin.lines == [told]
    assert short[0].seen[:3] == [5, 2, 3] and short[0].seen.count(5) == 1
    _equal_up_to_rounding(whole, short, log, twin)


def test_an_attempt_that_ran_out_of_memory_leaves_no_trace():
    """BatchNorm's statistics and the random draws are those of a training that was told the size at once."""

    class Late(Toy):
        room = 3

        def training_step(self, batch, index):
            found = super().training_step(batch, index)
            if len(batch[0]) > self.room:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory (a GPU in this test's place)")
            return found

    short, result = _train(Late())
    told, expected = _train(session=_session(micro_batch=3))
    assert _same(short, told) and result.history == expected.history


def test_memory_for_too_few_images_ends_with_what_to_mend():
    with pytest.raises(TrainingError, match=r"epoch 1, step 1 with 3 images at once: take a smaller backbone or pack"):
        _train(Plain(room=1))


def test_the_log_hears_of_health_and_cost_and_the_history_does_not():
    log = SilentLog()
    _, result = _train(Sgd(), log=log, epochs=1, gradient_clip=1e-3)
    twin, norms = Sgd(), []
    optimiser = twin.configure_optimizers()
    for batch in _batches(0):  # the norms before clipping, by hand
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


def test_the_wait_for_data_is_measured():
    def slow(epoch):
        for batch in _batches(epoch):
            time.sleep(0.05)
            yield batch

    log = SilentLog()
    _train(log=log, batches=slow, epochs=1)
    ((_, row),) = log.points
    assert 0.5 < row["system/data_wait_share"] < 1
    assert row["system/images_per_second"] < len(IMAGES) / (STEPS * 0.05)


@pytest.mark.parametrize("clip", [None, 0.1])
def test_bf16_trains_on_a_cpu(clip):
    _, result = _train(session=_session(precision="bf16-mixed"), epochs=1, gradient_clip=clip)
    assert math.isfinite(result.history[0]["fit/loss"])


@pytest.mark.parametrize(
    ("whole", "places", "at_once"), [(22, 3, 4), (5, 2, None), (7, 1, 3), (1, 2, None), (64, 4, 5)]
)
def test_pieces_on_all_devices_make_the_whole_mean(whole, places, at_once):
    values = torch.arange(whole, dtype=torch.float64) ** 2
    for mixed in (False, True):
        epoch = Epoch([np.arange(whole)], lambda _step, rows, _first: {"values": values[rows], "epoch": 3}, mixed=mixed)
        for batches in (epoch, list(epoch)):
            each = [next(parts(batches, 0, place, places)) for place in range(places)]
            cuts = [pieces(part, part.batch, at_once, places) for part in each]
            assert len({len(found) for found in cuts}) == 1, "a device would wait for another for ever"
            assert all(len(piece["values"]) <= (at_once or whole) for found in cuts for _, piece in found)
            total = sum(share * piece["values"].mean() for found in cuts for share, piece in found) / places
            assert float(total) == pytest.approx(float(values.mean()))


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
