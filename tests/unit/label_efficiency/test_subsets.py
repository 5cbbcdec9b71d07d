"""Subsets of the train lesions: nested, of whole lesions, of every class, and the same for every arm."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.label_efficiency.subsets import MIN_LESIONS, describe_subset, draw_subset

SHARES = (0.05, 0.1, 0.25, 0.5, 0.9)


@st.composite
def lesions(draw) -> tuple[np.ndarray, np.ndarray]:
    """Groups and labels of images: one to four images a lesion, one to forty lesions a class."""
    counts = draw(st.lists(st.integers(1, 40), min_size=2, max_size=5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    of_lesion = np.repeat(np.arange(len(counts)), counts)
    names = np.array([f"lesion_{place:03d}" for place in rng.permutation(len(of_lesion))])
    images = np.repeat(np.arange(len(of_lesion)), rng.integers(1, 5, len(of_lesion)))
    rng.shuffle(images)
    return names[images], of_lesion[images]


@settings(max_examples=60, deadline=None)
@given(lesions(), st.integers(0, 5))
def test_subsets_are_nested_and_keep_whole_lesions_of_every_class(table, seed) -> None:
    groups, labels = table
    found = [draw_subset(groups, labels, share, [0, seed]) for share in SHARES]
    for small, large in pairwise(found):
        assert set(small.rows) <= set(large.rows)
    for share, subset in zip(SHARES, found, strict=True):
        kept = np.isin(np.arange(len(groups)), subset.rows)
        assert not set(groups[kept]) & set(groups[~kept])
        assert subset.groups == len(set(groups[kept])) and list(subset.rows) == sorted(subset.rows)
        for k in np.unique(labels):
            there, here = (len(set(groups[where & (labels == k)])) for where in (True, kept))
            assert (subset.kept[k], subset.total[k]) == (here, there)
            assert here >= min(MIN_LESIONS, there)
            assert abs(here - share * there) <= 0.5 or here == min(MIN_LESIONS, there)


def test_the_share_is_reached_and_another_seed_draws_others() -> None:
    groups = np.array([f"{place}" for place in np.repeat(np.arange(400), 2)])
    labels = np.repeat(np.arange(400) % 4, 2)
    first, again, other = (draw_subset(groups, labels, 0.25, [0, seed]) for seed in (0, 0, 1))
    assert first.groups == 100 and len(first.rows) == 200
    np.testing.assert_array_equal(first.rows, again.rows)
    common = len(np.intersect1d(first.rows, other.rows))
    assert 20 < common < 90  # 50 expected of independent draws


def test_the_order_of_images_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    labels_of = rng.integers(0, 3, 60)
    images = rng.integers(0, 60, 200)
    groups = np.array([f"{place:02d}" for place in images])
    turned = rng.permutation(200)
    straight, mixed = (
        draw_subset(groups, labels_of[images], 0.3, [1]),
        draw_subset(groups[turned], labels_of[images][turned], 0.3, [1]),
    )
    assert set(groups[straight.rows]) == set(groups[turned][mixed.rows])


def test_a_lesion_of_several_classes_is_drawn_with_its_rarest() -> None:
    """A patient with a melanoma and naevi: the melanoma's share decides, and the patient stays whole."""
    groups = np.array(["p0", "p0", "p1", "p1", *[f"n{place}" for place in range(40)]])
    labels = np.array([0, 1, 0, 1, *[0] * 40])
    subset = draw_subset(groups, labels, 0.1, [0])
    assert {"p0", "p1"} <= set(groups[subset.rows])
    assert subset.kept == {0: 6, 1: 2} and subset.total == {0: 42, 1: 2}


def test_classes_whose_share_differs_are_described() -> None:
    groups = np.array([f"{place}" for place in range(46)])
    labels = np.array([0] * 40 + [1] * 5 + [2])
    subset = draw_subset(groups, labels, 0.1, [0])
    lines = describe_subset(subset, 0.1, ["nv", "mel", "df"])
    assert lines == [
        "mel: 2 of 5 lesions kept, more than the share",
        "df: 1 of 1 lesions kept, more than the share",
        "df: 1 of 1 lesions, too few to learn from",
    ]
    assert not describe_subset(draw_subset(groups[:40], labels[:40], 0.1, [0]), 0.1, ["nv"])


@pytest.mark.real
def test_every_class_of_ham10000_stands_in_a_tenth(ham10000) -> None:
    import pandas as pd

    table = pd.read_csv(ham10000 / "HAM10000_metadata.csv")
    labels, names = pd.factorize(table["dx"], sort=True)
    subset = draw_subset(table["lesion_id"].to_numpy(str), labels, 0.1, [0, 0])
    assert subset.groups == pytest.approx(0.1 * table["lesion_id"].nunique(), rel=0.02)
    assert min(subset.kept.values()) >= 7 and len(subset.kept) == len(names) == 7
