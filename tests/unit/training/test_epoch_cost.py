"""The cost of an epoch."""

from __future__ import annotations

import time

from components.base.log import SilentLog
from tests.unit.training.toy_training import IMAGES, STEPS, toy_batches, train_toy


def test_the_wait_for_data_is_measured():
    def slow(epoch):
        for batch in toy_batches(epoch):
            time.sleep(0.05)
            yield batch

    log = SilentLog()
    train_toy(log=log, batches=slow, epochs=1)
    ((_, row),) = log.points
    assert 0.5 < row["system/data_wait_share"] < 1
    assert row["system/images_per_second"] < len(IMAGES) / (STEPS * 0.05)
