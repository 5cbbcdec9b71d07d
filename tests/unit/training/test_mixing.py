"""Mixup and cutmix against torchvision's, their shares, and draws that depend on seed, epoch and step alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from components.training.mixing import Mixing, blend, cut

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 20, 20, 3), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def _tensor(images):
    return torch.from_numpy(images).permute(0, 3, 1, 2)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_blending_equals_torchvisions_mixup_to_half_a_grey_level(share):
    from torchvision.transforms import v2

    mixup = v2.MixUp(num_classes=3)
    images = _tensor(IMAGES).float()
    expected = mixup.transform(images, {"lam": share, "labels": None, "batch_size": 6})
    assert (_tensor(blend(IMAGES, share)).float() - expected).abs().max() <= 0.5 + 1e-3


def test_cutting_equals_torchvisions_cutmix():
    """Its window is cut from the same draws."""
    from torchvision.transforms import v2

    for seed in range(20):
        share = float(np.random.default_rng(seed).beta(1, 1))
        pasted, left = cut(IMAGES, share, np.random.default_rng(seed))
        changed = (
            np.flatnonzero((pasted != IMAGES).any(axis=(0, 2, 3))),
            np.flatnonzero((pasted != IMAGES).any((0, 1, 3))),
        )
        if not len(changed[0]):
            assert left == 1
            continue
        top, bottom, first, last = changed[0][0], changed[0][-1] + 1, changed[1][0], changed[1][-1] + 1
        params = {"box": (first, top, last, bottom), "labels": None, "batch_size": 6}
        expected = v2.CutMix(num_classes=3).transform(_tensor(IMAGES), params)
        assert torch.equal(_tensor(pasted), expected)
        assert left == pytest.approx(1 - (bottom - top) * (last - first) / 400)


def test_targets_are_the_shares_of_the_own_class_and_the_neighbours():
    for step in range(10):
        images, targets = Mixing(0.8, 0.0, classes=3, seed=1)(IMAGES, LABELS, 0, step)
        share = targets[0, 0]
        np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(targets[0], [share, 0, 1 - share], atol=1e-6)  # its neighbour is the last image
        np.testing.assert_array_equal(images, blend(IMAGES, float(np.float64(share)))) if share in (0, 1) else None
        assert np.abs(images[0] - (share * IMAGES[0] + (1 - share) * IMAGES[5])).max() <= 0.51


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)])
def test_mixing_keeps_the_mean_of_targets_and_draws_by_seed_epoch_and_step(mixup, cutmix):
    mixing = Mixing(mixup, cutmix, classes=3, seed=3)
    first, targets = mixing(IMAGES, LABELS, 2, 5)
    assert first.dtype == np.uint8 and targets.dtype == np.float32
    np.testing.assert_allclose(targets.mean(axis=0), np.bincount(LABELS) / 6, atol=1e-6)
    torch.rand(3), np.random.random(3)  # other generators do not matter
    again, same = Mixing(mixup, cutmix, classes=3, seed=3)(IMAGES, LABELS, 2, 5)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(targets, same)
    others = [
        Mixing(mixup, cutmix, classes=3, seed=4)(IMAGES, LABELS, 2, 5),
        mixing(IMAGES, LABELS, 3, 5),
        mixing(IMAGES, LABELS, 2, 6),
    ]
    assert all(not np.array_equal(first, other) for other, _ in others)


def test_mixing_draws_no_number_that_dropout_would():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    Mixing(0.4, 1.0, classes=3, seed=0)(IMAGES, LABELS, 0, 0)
    assert torch.equal(torch.rand(3), expected)


def test_shares_are_drawn_from_beta():
    tiny = IMAGES[:2, :4, :4]
    shares = [Mixing(0.4, 0.0, classes=2, seed=0)(tiny, LABELS[:2], 0, step)[1][0, 0] for step in range(500)]
    assert stats.kstest(shares, stats.beta(0.4, 0.4).cdf).pvalue > 0.01


def test_both_take_turns_by_a_fair_coin():
    """A blended pixel has a value that neither image has; white on black shows it."""
    pair = np.stack([np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)])
    mixing = Mixing(5.0, 5.0, classes=2, seed=0)
    blends = [set(np.unique(mixing(pair, LABELS[:2], 0, step)[0])) - {0, 255} != set() for step in range(400)]
    assert 0.4 < np.mean(blends) < 0.6


def test_fingerprints_tell_settings_and_seeds_apart():
    prints = {
        Mixing(m, c, classes=3, seed=seed).sha256()
        for m, c in ((0.4, 0.0), (0.2, 0.0), (0.0, 0.4), (0.4, 0.4))
        for seed in (0, 1)
    }
    assert len(prints) == 8
    assert Mixing(0.4, 0.4, classes=3, seed=0).sha256() == Mixing(0.4, 0.4, classes=3, seed=0).sha256()
