"""Whole lesions are drawn, and runs that cannot be paired are refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.base.errors import DataError, SettingsError
from components.robustness.measurements import corruption_levels, sample_images
from tests.unit.robustness.simulated_runs import SETTINGS, analyse_simulated, simulate


def test_levels_are_every_corruption_at_every_strength_in_the_settings_order() -> None:
    assert corruption_levels(SETTINGS) == (("blur", 1), ("blur", 3), ("noise", 1), ("noise", 3))


def test_whole_lesions_are_drawn_and_rare_classes_first() -> None:
    rng = np.random.default_rng(5)
    lesion_labels = rng.choice(3, 200, p=[0.05, 0.15, 0.8])
    groups = np.repeat(np.arange(200), rng.integers(1, 4, 200))
    labels = lesion_labels[groups]
    rows = sample_images(labels, groups, 100, seed=0)
    assert 97 <= len(rows) <= 100
    assert (np.diff(rows) > 0).all()
    drawn = set(groups[rows])
    assert sum(np.isin(groups, list(drawn))) == len(rows)
    assert np.isin(np.flatnonzero(labels == 0), rows).all()
    np.testing.assert_array_equal(rows, sample_images(labels, groups, 100, seed=0))
    assert not np.array_equal(rows, sample_images(labels, groups, 100, seed=1))
    np.testing.assert_array_equal(sample_images(labels, groups, None, seed=0), np.arange(len(labels)))


def test_fewer_images_than_any_lesion_has_are_refused() -> None:
    labels, groups = np.array([0, 0, 0, 1, 1]), np.array(["a", "a", "a", "b", "b"])
    with pytest.raises(SettingsError, match=r"robustness.images \(params.yaml\) is 1, .*expected at least 2, or null"):
        sample_images(labels, groups, 1, seed=0)
    np.testing.assert_array_equal(sample_images(labels, groups, 2, seed=0), [3, 4])


def test_runs_without_a_partner_or_a_corruption_are_refused() -> None:
    measured, runs = simulate()
    with pytest.raises(DataError, match=r"imagenet-frozen has seeds \[0, 1, 2\], expected \[0, 1, 2, 3\]"):
        analyse_simulated(measured, runs[:-1])
    with pytest.raises(DataError, match=r"vae-frozen-0 has no predictions for blur at strength 1"):
        analyse_simulated(measured, [replace(runs[0], corrupted={}), *runs[1:]])
