"""Maps may be read only where the whole interval supports it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.explanations.map_check import MapSimilarity, MapVerdict, compare_maps, judge_maps, share_missed
from tests.unit.explanations.explained_runs import similarity


def judge(found: MapSimilarity, missed: float) -> MapVerdict:
    return judge_maps([found], missed, same=0.5, max_missed=0.1)


@pytest.mark.parametrize(
    ("found", "missed", "verdict"),
    [
        (similarity(-0.1, 0.2), 0.05, MapVerdict.DEPENDS),
        (similarity(0.6, 0.9), 0.05, MapVerdict.INDEPENDENT),
        (similarity(-0.1, 0.2, magnitude=(0.6, 0.8)), 0.05, MapVerdict.INDEPENDENT),  # the places are the image's
        (similarity(0.3, 0.7), 0.05, MapVerdict.UNDECIDED),
        (similarity(-0.1, 0.2, magnitude=(0.4, 0.6)), 0.05, MapVerdict.UNDECIDED),
        (similarity(-0.1, 0.2), 0.2, MapVerdict.INCOMPLETE),
        (similarity(-0.1, 0.2), np.nan, MapVerdict.INCOMPLETE),
        (similarity(-0.1, 0.2, lesions=4), 0.05, MapVerdict.UNDECIDED),
    ],
)
def test_maps_are_read_only_where_the_whole_interval_allows_it(
    found: MapSimilarity, missed: float, verdict: MapVerdict
) -> None:
    assert judge(found, missed) is verdict


def test_without_the_check_nothing_is_decided() -> None:
    assert judge(replace(similarity(-0.1, 0.1), other="head"), 0.0) is MapVerdict.UNDECIDED


def test_a_map_without_contrast_is_left_out_of_the_means() -> None:
    rank = np.array([0.2, np.nan, 0.4])
    structure = np.array([0.1, 9.0, 0.3])
    found = compare_maps("head", rank=rank, magnitude=rank, structure=structure, confidence=0.95)
    assert (found.lesions, found.rank.mean, found.structure.mean) == (2, pytest.approx(0.3), pytest.approx(0.2))
    assert found.rank.low >= -1
    nothing = compare_maps("head", rank=rank[1:2], magnitude=rank[1:2], structure=rank[1:2], confidence=0.95)
    assert nothing.lesions == 0
    assert judge(replace(nothing, other="everything"), 0.0) is MapVerdict.UNDECIDED


def test_what_the_integral_missed_is_a_share_of_all_change() -> None:
    assert share_missed(np.array([0.1, -0.1]), np.array([-1.0, 3.0])) == pytest.approx(0.05)
    assert np.isnan(share_missed(np.zeros(2), np.zeros(2)))
