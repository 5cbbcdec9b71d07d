"""The draws of fine-tuning are a function of seed, epoch and position: not of worker, device or kill."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from itertools import islice

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from components.base.log import SilentLog
from components.data.pixels import read_pixels
from components.models.encoder import to_tensor
from components.training.examples import Examples
from components.training.finetune_batches import FinetuneBatches
from components.training.loop import fit
from components.training.optimizers import adamw
from components.training.prefetch import prefetch
from tests.unit.flows import small_study
from tests.unit.training.small_settings import CLASSES, SCHEDULE, cpu_session, small_conditions

EPOCHS = SCHEDULE.epochs


def _batches(folder, seed: int = 0, **changes) -> FinetuneBatches:
    """The packed train images as fine-tuning draws them."""
    pixels = read_pixels(folder)
    return FinetuneBatches(Examples(pixels, pixels.labels(CLASSES)), small_conditions(**changes), seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """21 packed images: three batches of six and one of three."""
    folder = tmp_path_factory.mktemp("packed") / "train"
    small_study.write_split(folder, 21)
    return folder


def _hashes(batches) -> list[str]:
    """One an image, in order."""
    return [hashlib.sha256(image.numpy().tobytes()).hexdigest() for images, _ in batches for image in images]


def _draw_batch(folder, epoch: int, step: int) -> tuple[int, list[str]]:
    """In a worker of its own; who it was, and what it drew."""
    (part,) = islice(_batches(folder).mixed(epoch).parts(step, 0, 1), 1)
    return os.getpid(), _hashes([part.batch])


def test_workers_draw_what_one_process_draws(folder):
    """Single batches in two processes that know nothing of each other, and all in a thread."""
    batches = _batches(folder)
    straight = [_hashes(batches.mixed(epoch)) for epoch in range(EPOCHS)]
    tasks = [(folder, epoch, step) for epoch in range(EPOCHS) for step in range(batches.steps)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        drawn = pool.starmap(_draw_batch, tasks, chunksize=1)
    assert len({pid for pid, _ in drawn}) == 2
    assert [one for _, hashes in drawn for one in hashes] == [one for hashes in straight for one in hashes]
    assert [_hashes(prefetch(batches.mixed(epoch), "cpu")) for epoch in range(EPOCHS)] == straight


def test_no_image_is_drawn_equally_in_two_epochs_nor_under_two_seeds(folder):
    """21 images three times under two seeds: 126 pictures, none twice."""
    seen = [one for seed in (0, 1) for epoch in range(EPOCHS) for one in _hashes(_batches(folder, seed).mixed(epoch))]
    assert len(seen) == 126 == len(set(seen))
    assert _hashes(_batches(folder, 1).mixed(2)) == _hashes(_batches(folder, 1).mixed(2))


def test_the_same_place_of_a_batch_is_treated_otherwise_in_each_epoch(folder):
    """One image at every position: what differs is the draw alone, and no draw comes again."""
    batches = _batches(folder)
    one = np.zeros(len(batches.train.labels), dtype=np.int64)
    seen = [_hashes([(to_tensor(batches.augmented(one, epoch, 0)), None)]) for epoch in range(EPOCHS)]
    assert len({hash for epoch in seen for hash in epoch}) == EPOCHS * len(one)


@pytest.mark.parametrize("mixing", [{}, {"mixup": 0.4, "cutmix": 1.0}], ids=["plain", "mixed"])
def test_devices_and_resumed_epochs_draw_their_parts_of_the_same_batches(folder, mixing):
    epoch = _batches(folder, **mixing).mixed(1)
    whole = [images for images, _ in epoch]
    for step in range(len(whole)):
        resumed = [part.batch[0] for part in epoch.parts(step, 0, 1)]
        assert all(torch.equal(*pair) for pair in zip(resumed, whole[step:], strict=True))
        shares = [next(epoch.parts(step, place, 2)).batch[0] for place in range(2)]
        assert torch.equal(torch.cat(shares), whole[step])


class Watched(pl.LightningModule):
    """Remembers what it was shown, and dies at a step."""

    def __init__(self, dies_at: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(3, 3)
        self.shown: list[list[str]] = []
        self.dies_at = dies_at

    def training_step(self, batch, _):
        if len(self.shown) == self.dies_at:
            raise KeyError("killed")
        images, classes = batch
        self.shown.append(_hashes([batch]))
        return {"loss": nn.functional.cross_entropy(self.net(images.float().mean((2, 3)) / 255), classes)}

    def configure_optimizers(self):
        return adamw(self, 0.01, 0.0, total_steps=12)


def _train(module, batches, checkpoint):
    session = cpu_session(checkpoint=checkpoint, checkpoint_steps=1)
    given = {"epochs": EPOCHS, "session": session, "log": SilentLog(), "settings": {}, "what": "watched"}
    fit(module, batches.mixed, batches.steps, end_of_epoch=lambda _: {}, **given)
    return module


@pytest.mark.parametrize("dies_at", [2, 4, 7])
def test_a_resumed_run_is_shown_what_an_uninterrupted_one_is(folder, tmp_path, dies_at):
    batches = _batches(folder)
    straight = _train(Watched(), batches, tmp_path / "straight").shown
    killed = Watched(dies_at)
    with pytest.raises(KeyError, match="killed"):
        _train(killed, batches, tmp_path / "killed")
    resumed = _train(Watched(), _batches(folder), tmp_path / "killed").shown
    assert len(resumed) == len(straight) - dies_at
    assert killed.shown + resumed == straight
    flat = [one for batch in straight for one in batch]
    assert len(set(flat)) == len(flat) == EPOCHS * 21
