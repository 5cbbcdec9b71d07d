"""The search against comparing every pair, on even and on skewed hashes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from components.validation import neighbours
from components.validation.neighbours import COPIES, HashChunk, Hashes, HashPairs, pairs_between, pairs_within

N = 20_000


def even(rng: np.random.Generator, many: int = N) -> Hashes:
    return rng.integers(0, 2**64, many, dtype=np.uint64)


def with_copies(rng: np.random.Generator, many: int = N) -> Hashes:
    """A tenth are copies of others with 0 to 12 bits flipped."""
    hashes = even(rng, many)
    for place in range(many // 10):
        flips = rng.choice(64, rng.integers(0, 13), replace=False)
        hashes[place] = hashes[-1 - place] ^ np.uint64(sum(1 << int(bit) for bit in flips))
    return hashes


def in_few_buckets(rng: np.random.Generator, many: int = N) -> Hashes:
    """Half of them share one of three values in 16 of their bits; the copies are left as they are."""
    hashes = with_copies(rng, many)
    crowd = slice(many // 5, many // 5 + many // 2)
    word = np.uint64(0xFFFF) << (np.uint64(16) * rng.integers(0, 4, many // 2, dtype=np.uint64))
    centre = even(rng, 3)[rng.integers(0, 3, many // 2)]
    hashes[crowd] = (hashes[crowd] & ~word) | (centre & word)
    return hashes


def rarely_set(rng: np.random.Generator, many: int = N) -> Hashes:
    """Each bit is set in a quarter of them; ten stand twice."""
    hashes = even(rng, many) & even(rng, many)
    hashes[:10] = hashes[-10:]
    return hashes


def brute_force(a: Hashes, b: Hashes, distance: int) -> HashPairs:
    """`pairs_between` by comparing all, equal ones too."""
    found = []  # (3, pairs of one row)
    for row, value in enumerate(a):
        bits = np.bitwise_count(value ^ b)
        near = np.flatnonzero(bits <= distance)
        found.append(np.stack([np.full(len(near), row), near, bits[near]]))
    return HashPairs(*np.concatenate(found, axis=1))


def same(a: HashPairs, b: HashPairs) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(a, b, strict=True))


def upper(pairs: HashPairs) -> HashPairs:
    once = pairs.first < pairs.second
    return HashPairs(pairs.first[once], pairs.second[once], pairs.distance[once])


@pytest.mark.parametrize("distance", [0, 1, 3, 6, 9, 12])
@pytest.mark.parametrize("make", [with_copies, in_few_buckets, rarely_set])
def test_pairs_are_those_of_comparing_all_of_20000(make: Callable[..., Hashes], distance: int) -> None:
    hashes = make(np.random.default_rng(distance))
    found = pairs_within(hashes, distance)
    assert same(found, upper(brute_force(hashes, hashes, distance)))
    assert len(found.first) > 0


@pytest.mark.parametrize("distance", [0, 5, 6, 7, 10, 16])
def test_pairs_between_two_lists_are_those_of_comparing_all(distance: int) -> None:
    rng = np.random.default_rng(distance)
    hashes = in_few_buckets(rng, 12_000)
    a, b = hashes[:9000], hashes[7000:]
    assert same(pairs_between(a, b, distance), brute_force(a, b, distance))


@pytest.mark.parametrize("chunks", range(2, 9))
def test_every_way_to_cut_the_bits_finds_the_same(chunks: int, monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = with_copies(np.random.default_rng(1), 3000)
    plan = neighbours._cut(chunks, 2, 14, 6)
    monkeypatch.setattr(neighbours, "_choose_chunks", lambda *_: plan)
    assert same(pairs_within(hashes, 6), upper(brute_force(hashes, hashes, 6)))


@pytest.mark.parametrize("distance", range(17))
@pytest.mark.parametrize("chunks", range(2, 9))
def test_chunks_never_overlap_and_their_radii_leave_no_pair_out(chunks: int, distance: int) -> None:
    """If every chunk differed in more than its radius, more than `distance` bits would differ."""
    plan = neighbours._cut(chunks, 2, 22, distance)
    assert sum(chunk.radius + 1 for chunk in plan) > distance
    ends = [(chunk.shift, chunk.shift + chunk.width) for chunk in plan]
    assert all(end <= begin for (_, end), (begin, _) in pairwise(ends))
    assert ends[-1][1] <= 64


def test_masks_are_all_ways_to_differ_in_so_many_bits() -> None:
    masks = HashChunk(0, 10, 2).masks()
    assert sorted(masks) == [mask for mask in range(1024) if mask.bit_count() <= 2]


def test_buckets_longer_than_a_row_can_be_are_compared_whole() -> None:
    rng = np.random.default_rng(0)
    hashes = even(rng, 8000)
    hashes[:4000] &= ~np.uint64(2**32 - 1)  # half of the chunks in one bucket
    assert same(pairs_within(hashes, 6), upper(brute_force(hashes, hashes, 6)))


def test_a_few_equal_hashes_are_all_paired() -> None:
    found = pairs_within(np.array([5, 9, 5, 2**60, 5], np.uint64), 0)
    assert list(zip(found.first, found.second, strict=True)) == [(0, 2), (0, 4), (2, 4)]


def test_thousands_of_equal_hashes_give_few_pairs_and_the_same_groups() -> None:
    hashes = np.r_[np.full(30_000, 7, np.uint64), even(np.random.default_rng(0), 100), np.full(3, 6, np.uint64)]
    found = pairs_within(hashes, 2)
    assert len(found.first) < 30_000 + COPIES * COPIES
    reached = set(found.first) | set(found.second)
    assert reached == {*range(30_000), *range(30_100, 30_103)}
    later = found.second >= COPIES
    assert set(found.first[later & (found.second < 30_000)]) == {0}
    assert (found.first < found.second).all()


@pytest.mark.parametrize("many", [0, 1])
def test_nothing_is_near_nothing(many: int) -> None:
    hashes: Hashes = np.zeros(many, np.uint64)
    assert len(pairs_within(hashes, 6).first) == 0
    assert len(pairs_between(hashes, hashes[:0], 6).first) == 0


def test_distance_64_pairs_all() -> None:
    found = pairs_within(even(np.random.default_rng(0), 30), 64)
    assert len(found.first) == 30 * 29 // 2
