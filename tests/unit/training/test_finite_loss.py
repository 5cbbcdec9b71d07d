"""A loss that is not finite stops the training, with epoch, step, terms and images."""

from __future__ import annotations

import math

import pytest

from components.base.errors import TrainingError
from components.base.log import SilentLog
from components.training.batches import EpochBatches, shuffled_batches
from tests.unit.training.toy_training import BATCH, IMAGES, TARGETS, toy_batches, toy_session, train_toy


def test_an_infinite_loss_stops_with_epoch_step_and_terms():
    def poisoned(epoch):
        for step, (images, targets) in enumerate(toy_batches(epoch)):
            yield images, targets / (0 if (epoch, step) == (1, 2) else 1)

    message = (
        r"toy: the loss is not finite in epoch 2, step 3: loss = inf, error = inf, penalty = 0\.\d+; .*learning_rate"
    )
    with pytest.raises(TrainingError, match=message):
        train_toy(batches=poisoned)


def test_the_images_of_the_offending_batch_are_saved(tmp_path):
    def poisoned(epoch):
        def draw(step, rows, _first):
            return IMAGES[rows], TARGETS[rows] * (math.nan if (epoch, step) == (1, 2) else 1)

        return EpochBatches(
            shuffled_batches(len(IMAGES), BATCH, 0, epoch), draw, names=lambda rows: [f"ISIC_{row}" for row in rows]
        )

    log = SilentLog()
    with pytest.raises(
        TrainingError, match=rf"epoch 2, step 3: .*; its images are listed in {tmp_path}/offending-batch.csv"
    ):
        train_toy(session=toy_session(tmp_path), batches=poisoned, log=log)
    assert log.artifacts == [("", tmp_path / "offending-batch.csv")]
    expected = [f"{row},ISIC_{row}" for row in shuffled_batches(len(IMAGES), BATCH, 0, 1)[2]]
    assert (tmp_path / "offending-batch.csv").read_text().splitlines() == ["row,name", *expected]


def test_a_measured_loss_that_is_not_finite_stops():
    with pytest.raises(TrainingError, match="not finite after epoch 1: val/loss = nan"):
        train_toy(end_of_epoch=lambda epoch: {"val/loss": math.nan})
