"""Whole lesions are drawn, rare classes first."""

from __future__ import annotations

import numpy as np
import pytest

from components.base.errors import SettingsError
from components.data.whole_lesions import sample_images

LIMIT = "robustness.images (params.yaml)"


def test_whole_lesions_are_drawn_and_rare_classes_first() -> None:
    rng = np.random.default_rng(5)
    lesion_labels = rng.choice(3, 200, p=[0.05, 0.15, 0.8])
    groups = np.repeat(np.arange(200), rng.integers(1, 4, 200))
    labels = lesion_labels[groups]
    rows = sample_images(labels, groups, 100, seed=0, setting=LIMIT)
    assert 97 <= len(rows) <= 100
    assert (np.diff(rows) > 0).all()
    drawn = set(groups[rows])
    assert sum(np.isin(groups, list(drawn))) == len(rows)
    assert np.isin(np.flatnonzero(labels == 0), rows).all()
    np.testing.assert_array_equal(rows, sample_images(labels, groups, 100, seed=0, setting=LIMIT))
    assert not np.array_equal(rows, sample_images(labels, groups, 100, seed=1, setting=LIMIT))
    np.testing.assert_array_equal(sample_images(labels, groups, None, seed=0, setting=LIMIT), np.arange(len(labels)))


def test_fewer_images_than_any_lesion_has_are_refused() -> None:
    labels, groups = np.array([0, 0, 0, 1, 1]), np.array(["a", "a", "a", "b", "b"])
    with pytest.raises(SettingsError, match=r"robustness.images \(params.yaml\) is 1, .*expected at least 2, or null"):
        sample_images(labels, groups, 1, seed=0, setting=LIMIT)
    np.testing.assert_array_equal(sample_images(labels, groups, 2, seed=0, setting=LIMIT), [3, 4])
