"""Batches made ahead in a thread: the same ones in the same order, errors as they are, and no thread left behind."""

from __future__ import annotations

import dataclasses
import threading
import time
import traceback
from collections import namedtuple
from itertools import count

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from components.base.errors import TrainingError
from components.base.log import SilentLog
from components.models.encoder import to_tensor
from components.training import loop
from components.training.augment import build_augmentation
from components.training.batches import BatchPart, EpochBatches, shuffled_batches
from components.training.loop import fit
from components.training.optimizers import adamw
from components.training.prefetch import AHEAD, change_tensors, endless, prefetch
from tests.unit.training.small_settings import AUGMENT, cpu_session

Pair = namedtuple("Pair", "images classes")
PIXELS = np.random.default_rng(0).integers(0, 256, (22, 16, 16, 3), dtype=np.uint8)
TARGETS = torch.from_numpy(PIXELS.mean((1, 2, 3), keepdims=True)[..., 0, 0] / 255).float()
EPOCHS, BATCH = 3, 5
STEPS = len(shuffled_batches(len(PIXELS), BATCH, 0, 0))


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert not _threads()


def _threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "prefetch"]


def _wait_until(seen) -> bool:
    deadline = time.monotonic() + 5
    while not seen() and time.monotonic() < deadline:
        time.sleep(0.005)
    return seen()


@pytest.mark.parametrize("number", [0, 1, AHEAD, 50])
def test_all_batches_come_in_order(number):
    assert list(prefetch(range(number), "cpu")) == list(range(number))


def test_batches_are_made_in_one_other_thread():
    seen = list(prefetch((threading.get_ident() for _ in range(5)), "cpu"))
    assert len(set(seen)) == 1 and threading.get_ident() not in seen


def test_the_next_batch_is_made_while_this_one_is_used():
    """Ten times 30 ms to make and 30 ms to use: 0.33 s, not 0.6."""

    def make():
        for number in range(10):
            time.sleep(0.03)
            yield number

    began = time.monotonic()
    for _ in prefetch(make(), "cpu"):
        time.sleep(0.03)
    assert time.monotonic() - began < 0.5


def test_only_so_many_are_made_ahead():
    made = []
    coming = prefetch((made.append(number) for number in count()), "cpu")
    for _ in range(3):
        next(coming)
    most = 3 + AHEAD + 1  # those that were taken, those that wait, and the one in the thread's hand
    assert _wait_until(lambda: len(made) == most)
    time.sleep(0.3)  # several times POLL_SECONDS
    assert len(made) == most
    coming.close()


def _make_two_and_fail():
    yield 1
    yield 2
    raise KeyError("lesion_17")


def test_an_error_comes_in_its_place_as_it_was_raised():
    coming = prefetch(_make_two_and_fail(), "cpu")
    assert [next(coming), next(coming)] == [1, 2]
    with pytest.raises(KeyError, match="lesion_17") as raised:
        next(coming)
    assert "_make_two_and_fail" in [frame.name for frame in traceback.extract_tb(raised.value.__traceback__)]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError("full")])
def test_whatever_ends_the_thread_reaches_the_reader(error):
    def make():
        yield 1
        raise error

    coming = prefetch(make(), "cpu")
    next(coming)
    with pytest.raises(type(error)) as raised:
        next(coming)
    assert raised.value is error


def test_leaving_early_ends_the_thread_and_closes_what_makes_batches_there():
    ended = []

    def make():
        try:
            yield from count()
        finally:
            ended.append(threading.current_thread().name)

    coming = prefetch(make(), "cpu")
    assert [next(coming) for _ in range(3)] == [0, 1, 2]
    assert len(_threads()) == 1
    coming.close()
    assert ended == ["prefetch"] and not _threads()


def test_a_reader_that_fails_ends_the_thread():
    def read():
        for number in prefetch(count(), "cpu"):
            if number == 4:
                raise ValueError("the step failed")

    with pytest.raises(ValueError, match="the step failed"):
        read()
    assert _wait_until(lambda: not _threads())


def _batches_of_all_kinds():
    tensor = torch.arange(6.0).view(3, 2)
    part = BatchPart((tensor, [tensor + 1]), 0, 3, 3)
    return [tensor, (tensor, 7), [tensor, "name"], {"x": tensor}, Pair(tensor, None), part]


def test_tensors_are_found_in_every_kind_of_batch():
    for batch in _batches_of_all_kinds():
        found = []
        copy = change_tensors(batch, lambda tensor, found=found: found.append(tensor) or tensor * 2)
        assert type(copy) is type(batch) and found
        assert str(change_tensors(copy, lambda tensor: tensor / 2)) == str(batch)


def test_batches_of_every_kind_come_as_they_are():
    batches = _batches_of_all_kinds()
    for batch, same in zip(batches, prefetch(batches, "cpu"), strict=True):
        assert same is batch


def test_epochs_follow_one_another_without_end():
    coming = endless(lambda epoch: [(epoch, 0), (epoch, 1)])
    assert [next(coming) for _ in range(5)] == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    with pytest.raises(TrainingError, match="no batch to make a step with"):
        next(endless(lambda _: []))


class Net(pl.LightningModule):
    """BatchNorm and dropout: what has a state, and what draws numbers of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        trunk = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        self.net = nn.Sequential(*trunk, nn.Dropout(0.3), nn.Linear(4, 1))
        self.fail_in: int | None = None
        self.steps = 0

    def training_step(self, batch, _):
        self.steps += 1
        if self.steps == self.fail_in:
            raise ValueError("the step failed")
        images, targets = batch
        return {"loss": (self.net(images.float() / 255) - targets).square().mean()}

    def configure_optimizers(self):
        return adamw(self, 0.01, 0.05, EPOCHS * STEPS)


def _augmented(epoch: int) -> EpochBatches:
    augmentation = build_augmentation(AUGMENT, seed=0)

    def draw(_step, rows, first):
        return to_tensor(augmentation(PIXELS[rows], epoch, first)), TARGETS[rows]

    return EpochBatches(shuffled_batches(len(PIXELS), BATCH, 0, epoch), draw)


def _train(module=None, batches=_augmented, **changes):
    module = module or Net()
    session = cpu_session()
    given = {"epochs": EPOCHS, "settings": {}, "end_of_epoch": lambda _: {}, "what": "net"} | changes
    return module, fit(module, batches, STEPS, session=session, log=SilentLog(), **given)


def test_training_with_batches_made_ahead_equals_training_without_to_the_last_bit(monkeypatch):
    ahead, with_thread = _train()
    assert torch.are_deterministic_algorithms_enabled()
    used = []
    monkeypatch.setattr(loop, "prefetch", lambda batches, device: used.append(device) or (b for b in batches))
    plain, without = _train()
    assert used == ["cpu"] * EPOCHS
    assert with_thread.history == without.history
    states = ahead.state_dict(), plain.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_an_error_in_drawing_ends_a_training_with_that_error():
    def batches(epoch):
        for step, batch in enumerate(_augmented(epoch)):
            if (epoch, step) == (1, 2):
                raise KeyError("image_7 changed")
            yield batch

    module = Net()
    with pytest.raises(KeyError, match="image_7 changed"):
        _train(module, batches)
    assert module.steps == STEPS + 2  # what was drawn before was learned from


def test_a_step_that_fails_leaves_no_thread():
    module = Net()
    module.fail_in = 3
    with pytest.raises(ValueError, match="the step failed"):
        _train(module)
    assert _wait_until(lambda: not _threads())


def test_a_training_that_stops_early_leaves_no_thread():
    _, result = _train(end_of_epoch=lambda epoch: {"val/loss": float(epoch)}, monitor="val/loss", patience=1)
    assert len(result.history) == 2
    assert not _threads()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu_batches_are_there_already_and_whole():
    batches = [BatchPart((torch.full((64, 3, 64, 64), k % 256, dtype=torch.uint8), k), 0, 64, 64) for k in range(40)]
    for k, part in enumerate(prefetch(batches, "cuda")):
        images, number = part.batch
        assert images.is_cuda and number == k and dataclasses.replace(part, batch=None) == BatchPart(None, 0, 64, 64)
        assert bool((images == k % 256).all())
