"""Every pair of 64-bit hashes within a Hamming distance, exactly, without comparing every pair.

Two hashes that differ in at most r bits, cut into m chunks, differ in few bits of one chunk at least (Norouzi, Punjani
and Fleet 2012, "Fast search in Hamming space with multi-index hashing"): with r = m * s + a, either one of the first
a + 1 chunks differs in at most s bits, or one of the others in at most s - 1. So hashes are sorted by each chunk in
turn, and each is compared only with those whose chunk is that near. How the bits are cut is chosen by counting, on the
hashes at hand, how many comparisons each way would cost; comparing all pairs is one of the ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from math import comb
from typing import Any, NamedTuple

import numpy as np

Hashes = np.ndarray[Any, np.dtype[np.uint64]]
Rows = np.ndarray[Any, np.dtype[np.int64]]

BITS = 64
COPIES = 16  # of equal hashes only so many meet all others: thousands of equal ones would give millions of pairs
BLOCK = 1 << 15  # hashes at a time: the scratch of one step stays in the processor's cache
LONG = 255  # a bucket of more hashes is compared as a whole, not hash by hash
WIDEST = (10, 14, 18, 22)  # bits of a chunk, which need not cover all 64; its directory has 2**bits entries
CHUNKS = range(2, 9)
# In comparisons of two hashes met through a chunk: a bucket's look-up, a directory's entry, a pair when all are met.
PROBE_COST = 2.0
DIRECTORY_COST = 6.0
ALL_PAIRS_COST = 0.2


class Pairs(NamedTuple):
    """Pair k is the hashes at `first[k]` and `second[k]`, `distance[k]` bits apart; sorted by first, second."""

    first: Rows
    second: Rows
    distance: np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class Chunk:
    """Bits [shift, shift + width) of a hash, and how many of them may differ."""

    shift: int
    width: int
    radius: int

    def keys(self, hashes: Hashes) -> Rows:
        """The chunk of each hash, in [0, 2**width)."""
        return ((hashes >> np.uint64(self.shift)) & np.uint64(2**self.width - 1)).astype(np.int64)

    @property
    def probes(self) -> int:
        """How many masks there are."""
        return sum(comb(self.width, size) for size in range(self.radius + 1))

    def masks(self) -> list[int]:
        """Every way in which up to `radius` bits differ."""
        flips = (places for size in range(self.radius + 1) for places in combinations(range(self.width), size))
        return [sum(1 << place for place in places) for places in flips]


def pairs_within(hashes: Hashes, distance: int) -> Pairs:
    """All pairs i < j of (N,) hashes at most `distance` bits apart.

    Of more than COPIES equal hashes the first COPIES meet all others; each later one is paired with the first
    alone. The connected groups are the same as those of all pairs.
    """
    kept, stars = _collapse(hashes)
    values, owner = np.unique(hashes[kept], return_inverse=True)
    near = _search(values, values, distance, same=True)
    members = _members(owner)
    between = _expand(members, members, near)
    equal = _equal(members, values)
    first, second, bits = _joined([between, equal])
    first, second = kept[first], kept[second]
    low, high = np.minimum(first, second), np.maximum(first, second)
    return _sorted(np.r_[low, stars[0]], np.r_[high, stars[1]], np.r_[bits, np.zeros(len(stars[0]), np.uint8)])


def pairs_between(a: Hashes, b: Hashes, distance: int) -> Pairs:
    """All pairs of one hash of `a` and one of `b` at most `distance` bits apart; of equal ones the first COPIES."""
    kept_a, kept_b = _collapse(a)[0], _collapse(b)[0]
    values_a, owner_a = np.unique(a[kept_a], return_inverse=True)
    values_b, owner_b = np.unique(b[kept_b], return_inverse=True)
    near = _search(values_a, values_b, distance, same=False)
    first, second, bits = _expand(_members(owner_a), _members(owner_b), near)
    return _sorted(kept_a[first], kept_b[second], bits)


def _collapse(hashes: Hashes) -> tuple[Rows, tuple[Rows, Rows]]:
    """The rows of the first COPIES of each value, and (first row of a value, row) for all the others."""
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    fresh = np.r_[True, ranked[1:] != ranked[:-1]] if len(ranked) else np.zeros(0, bool)
    begin = np.maximum.accumulate(np.where(fresh, np.arange(len(ranked)), 0))
    extra = np.arange(len(ranked)) - begin >= COPIES
    return np.sort(order[~extra]), (order[begin[extra]], order[extra])


def _members(owner: Rows) -> tuple[Rows, Rows]:
    """Rows in order of their value, and where each value's begin: value k owns rows[begin[k] : begin[k + 1]]."""
    counts = np.bincount(owner) if len(owner) else np.zeros(0, np.int64)
    return np.argsort(owner, kind="stable"), np.r_[0, np.cumsum(counts)]


def _expand(a: tuple[Rows, Rows], b: tuple[Rows, Rows], near: Pairs) -> Pairs:
    """Pairs of values as pairs of all their rows."""
    (rows_a, begin_a), (rows_b, begin_b) = a, b
    many_a = begin_a[near.first + 1] - begin_a[near.first]
    many_b = begin_b[near.second + 1] - begin_b[near.second]
    times = many_a * many_b
    nth = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    width = np.repeat(many_b, times)
    first = rows_a[np.repeat(begin_a[near.first], times) + nth // width]
    second = rows_b[np.repeat(begin_b[near.second], times) + nth % width]
    return Pairs(first, second, np.repeat(near.distance, times))


def _equal(members: tuple[Rows, Rows], values: Hashes) -> Pairs:
    """The pairs of rows of one value."""
    own = np.arange(len(values))
    pairs = _expand(members, members, Pairs(own, own, np.zeros(len(own), np.uint8)))
    once = pairs.first < pairs.second
    return Pairs(pairs.first[once], pairs.second[once], pairs.distance[once])


def _search(a: Hashes, b: Hashes, distance: int, same: bool) -> Pairs:
    """Pairs of distinct values; `same`: b is a, and each pair is wanted once, without a value and itself."""
    plan = _plan(a, b, distance)
    if not plan:
        found = list(_all(a, b, distance, 256, same))
        return Pairs(*_joined(found))
    found = []
    for place, chunk in enumerate(plan):
        for first, second in _chunk_pairs(a, b, distance, chunk, same):
            differ = a[first] ^ b[second]
            fresh = np.ones(len(first), bool)
            for earlier in plan[:place]:  # a pair is told by the first chunk that finds it
                fresh &= np.bitwise_count(earlier.keys(differ)) > earlier.radius
            found.append((first[fresh], second[fresh], np.bitwise_count(differ[fresh])))
    return Pairs(*_joined(found))


def _plan(a: Hashes, b: Hashes, distance: int) -> list[Chunk]:
    """The cheapest way to cut the bits; empty: compare all."""
    plans = [_cut(*ways, distance) for ways in product(CHUNKS, (0, 2, 4), WIDEST)]
    best: list[Chunk] = []
    least = ALL_PAIRS_COST * len(a) * len(b)
    for plan in sorted(plans, key=lambda plan: _least(plan, a, b)):
        if _least(plan, a, b) >= least:
            break
        if (cost := _cost(plan, a, b)) < least:
            best, least = plan, cost
    return best


def _cut(count: int, spare: int, widest: int, distance: int) -> list[Chunk]:
    """`count` chunks; those where more bits may differ get `spare` bits more, since they are probed more often."""
    radius, more = divmod(distance, count)
    radii = [radius if place <= more else radius - 1 for place in range(count)]
    radii = [each for each in radii if each >= 0]
    weights = [spare if each == radius else 0 for each in radii]
    base, left = divmod(BITS - sum(weights), len(radii))
    widths = [min(base + weight + (place < left), widest) for place, weight in enumerate(weights)]
    shifts = [sum(widths[:place]) for place in range(len(widths))]
    return [Chunk(*parts) for parts in zip(shifts, widths, radii, strict=True)]


def _least(plan: list[Chunk], a: Hashes, b: Hashes) -> float:
    """What a plan costs in comparisons if the hashes are spread evenly: no other spread is cheaper."""
    met: float = sum(chunk.probes * (PROBE_COST + len(b) / (1 << chunk.width)) for chunk in plan) * len(a)
    return met + sum(DIRECTORY_COST * (1 << chunk.width) for chunk in plan)


def _cost(plan: list[Chunk], a: Hashes, b: Hashes) -> float:
    """What it costs on these hashes: a probe meets as many pairs as there are equal chunks, or fewer."""
    cost = _least(plan, a, b)
    for chunk in plan:
        counts = [np.bincount(chunk.keys(hashes), minlength=(1 << chunk.width)) for hashes in (a, b)]
        excess = float(counts[0].astype(np.float64) @ counts[1]) - len(a) * len(b) / (1 << chunk.width)
        cost += chunk.probes * max(excess, 0.0)
    return cost


def _chunk_pairs(a: Hashes, b: Hashes, distance: int, chunk: Chunk, same: bool) -> Iterator[tuple[Rows, Rows]]:
    """(rows of a, rows of b) within distance whose chunks differ in at most the chunk's radius."""
    order_a, keys_a = _ranked(chunk, a)
    order_b, keys_b = (order_a, keys_a) if same else _ranked(chunk, b)
    ranked_a, ranked_b = a[order_a], b[order_b]
    starts = np.r_[0, np.cumsum(np.bincount(keys_b, minlength=(1 << chunk.width)))]
    for mask in chunk.masks():
        for begin in range(0, len(a), BLOCK):
            keys = keys_a[begin : begin + BLOCK]
            low, high = starts[keys ^ mask], starts[(keys ^ mask) + 1]
            if same and mask == 0:
                low = np.arange(begin, begin + len(keys)) + 1  # only those behind it
            elif same:
                high = np.where(keys < keys ^ mask, high, low)  # the other half of each pair has its turn
            for first, second in _compare(ranked_a[begin : begin + BLOCK], low, high, ranked_b, distance):
                yield order_a[begin + first], order_b[second]


def _ranked(chunk: Chunk, hashes: Hashes) -> tuple[Rows, Rows]:
    packed = np.sort((chunk.keys(hashes) << 32) | np.arange(len(hashes)))  # one plain sort: quicker than argsort
    return packed & (2**32 - 1), packed >> 32


def _compare(block: Hashes, low: Rows, high: Rows, stored: Hashes, distance: int) -> Iterator[tuple[Rows, Rows]]:
    """(row of block, row of stored) within distance, row k of the block against stored[low[k] : high[k]]."""
    length = high - low
    for row in np.flatnonzero(length > LONG):
        bits = np.bitwise_count(stored[low[row] : high[row]] ^ block[row])
        near = np.flatnonzero(bits <= distance)
        if len(near):
            yield np.full(len(near), row), low[row] + near
    rows = np.flatnonzero((length > 0) & (length <= LONG))
    short = (LONG - length[rows]).astype(np.uint8)  # one byte: numpy sorts those by counting
    rows = rows[np.argsort(short, kind="stable")]  # the longest first: those still at work are a prefix
    length, place, own = length[rows], low[rows], block[rows]
    active = len(rows) - np.searchsorted(length[::-1], np.arange(1, LONG + 1))
    for step in range(int(length[0]) if len(rows) else 0):
        many = active[step]
        bits = np.bitwise_count(stored[place[:many] + step] ^ own[:many])
        near = np.flatnonzero(bits <= distance)
        if len(near):
            yield rows[near], place[near] + step


def _all(a: Hashes, b: Hashes, distance: int, block: int, same: bool = False) -> Iterator[tuple[Any, Any, Any]]:
    """Every pair within distance, a few rows of `a` at a time."""
    wide = 1 << 13
    for top in range(0, len(a), block):
        for left in range(top if same else 0, len(b), wide):
            bits = np.bitwise_count(a[top : top + block, None] ^ b[None, left : left + wide])
            first, second = np.divmod(np.flatnonzero(bits.ravel() <= distance), bits.shape[1])
            if same:
                once = first + top < second + left
                first, second = first[once], second[once]
            yield first + top, second + left, bits[first, second]


def _joined(found: list[tuple[Any, Any, Any]]) -> tuple[Any, Any, Any]:
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.uint8))
    first, second, bits = (np.concatenate(parts) for parts in zip(empty, *found, strict=True))
    return first, second, bits


def _sorted(first: Rows, second: Rows, bits: Any) -> Pairs:
    order = np.lexsort((second, first))
    return Pairs(first[order], second[order], bits[order])
