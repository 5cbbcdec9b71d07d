"""Batches as row numbers, parts of devices and micro-batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.training.batches import (
    EpochBatches,
    balanced_batches,
    batch_parts,
    generator,
    micro_batches,
    shuffled_batches,
)


@pytest.mark.parametrize(("whole", "places", "limit"), [(22, 3, 4), (5, 2, None), (7, 1, 3), (1, 2, None), (64, 4, 5)])
def test_micro_batches_on_all_devices_make_the_whole_mean(whole, places, limit):
    values = torch.arange(whole, dtype=torch.float64) ** 2
    for mixed in (False, True):
        epoch = EpochBatches(
            [np.arange(whole)], lambda _step, rows, _first: {"values": values[rows], "epoch": 3}, mixed=mixed
        )
        for batches in (epoch, list(epoch)):
            each = [next(batch_parts(batches, 0, place, places)) for place in range(places)]
            cuts = [micro_batches(part, part.batch, limit, places) for part in each]
            assert len({len(found) for found in cuts}) == 1, "a device would wait for another for ever"
            assert all(len(piece["values"]) <= (limit or whole) for found in cuts for _, piece in found)
            total = sum(share * piece["values"].mean() for found in cuts for share, piece in found) / places
            assert float(total) == pytest.approx(float(values.mean()))


def test_every_image_comes_once_an_epoch_in_a_new_order():
    first, second = (np.concatenate(shuffled_batches(23, 5, 0, epoch)) for epoch in range(2))
    assert sorted(first) == sorted(second) == list(range(23))
    assert not np.array_equal(first, second)


def test_a_rest_of_one_image_is_left_out():
    assert [len(rows) for rows in shuffled_batches(11, 5, 0, 0)] == [5, 5]
    assert [len(rows) for rows in shuffled_batches(1, 5, 0, 0)] == [1]


def test_generators_of_different_keys_are_different():
    keys = [(seed, epoch) for seed in range(5) for epoch in range(5)]
    assert len({generator(*key).integers(2**60) for key in keys}) == 25
    assert generator(3, 4).integers(2**60) == generator(3, 4).integers(2**60)


def test_balanced_batches_draw_classes_equally_often_and_images_of_the_right_class():
    labels = np.array([0] * 30 + [2] * 5 + [3] * 2)
    batches = balanced_batches(labels, 8, generator(0, 0))
    drawn = np.concatenate(batches)
    counts = np.bincount(labels[drawn], minlength=4)
    assert counts[1] == 0 and counts[[0, 2, 3]].max() - counts[[0, 2, 3]].min() <= 1
    assert [len(rows) for rows in batches] == [8, 8, 8, 8, 5]
    assert not np.array_equal(drawn, np.concatenate(balanced_batches(labels, 8, generator(0, 1))))
