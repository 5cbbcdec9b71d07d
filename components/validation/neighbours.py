"""Every pair of 64-bit hashes within a Hamming distance, exactly, without comparing every pair.

Two hashes that differ in at most r bits, cut into m chunks, differ in few bits of one chunk at least (Norouzi, Punjani
and Fleet 2012, "Fast search in Hamming space with multi-index hashing"): with r = m * s + a, either one of the first
a + 1 chunks differs in at most s bits, or one of the others in at most s - 1. So hashes are sorted by each chunk in
turn, and each is compared only with those whose chunk is that near. How the bits are cut is chosen by the number of
comparisons that each way would cost on the given hashes; comparing all pairs is one of the ways.
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
COPIES = 16  # of equal hashes compared with all others: thousands of equal ones would give millions of pairs
BLOCK = 1 << 15  # hashes at a time: the working memory of one step stays in the processor's cache
LONG = 255  # a bucket of more hashes is compared as a whole, not hash by hash
WIDEST = (10, 14, 18, 22)  # bits of a chunk, which need not cover all 64; its directory has 2**bits entries
CHUNKS = range(2, 9)
# Costs relative to comparing two hashes found through a chunk: a bucket's look-up, a directory's entry, a pair when all
# pairs are compared.
PROBE_COST = 2.0
DIRECTORY_COST = 6.0
ALL_PAIRS_COST = 0.2


class HashPairs(NamedTuple):
    """Pair k: the hashes at rows `first[k]` and `second[k]`, `distance[k]` bits apart; sorted by first, second."""

    first: Rows
    second: Rows
    distance: np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True)
class HashChunk:
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
        """Every bit mask with at most `radius` bits set."""
        flips = (places for size in range(self.radius + 1) for places in combinations(range(self.width), size))
        return [sum(1 << place for place in places) for places in flips]


def pairs_within(hashes: Hashes, distance: int) -> HashPairs:
    """All pairs i < j of (N,) hashes at most `distance` bits apart.

    Of more than COPIES equal hashes the first COPIES are compared with all others; each later one is paired with the
    first only. The connected groups are the same as those of all pairs.
    """
    kept, repeats = _collapse(hashes)
    values, owner = np.unique(hashes[kept], return_inverse=True)
    near = _search(values, values, distance, same=True)
    members = _members(owner)
    between = _expand(members, members, near)
    equal = _equal(members, values)
    first, second, bits = _joined([between, equal])
    first, second = kept[first], kept[second]
    low, high = np.minimum(first, second), np.maximum(first, second)
    return _sorted(np.r_[low, repeats[0]], np.r_[high, repeats[1]], np.r_[bits, np.zeros(len(repeats[0]), np.uint8)])


def pairs_between(a: Hashes, b: Hashes, distance: int) -> HashPairs:
    """All pairs of one hash of `a` and one of `b` at most `distance` bits apart; of equal ones the first COPIES."""
    kept_a, kept_b = _collapse(a)[0], _collapse(b)[0]
    values_a, owner_a = np.unique(a[kept_a], return_inverse=True)
    values_b, owner_b = np.unique(b[kept_b], return_inverse=True)
    near = _search(values_a, values_b, distance, same=False)
    first, second, bits = _expand(_members(owner_a), _members(owner_b), near)
    return _sorted(kept_a[first], kept_b[second], bits)


def _collapse(hashes: Hashes) -> tuple[Rows, tuple[Rows, Rows]]:
    """The rows of the first COPIES of each value, and (first row of the value, row) for each further one."""
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    fresh = np.r_[True, ranked[1:] != ranked[:-1]] if len(ranked) else np.zeros(0, bool)
    begin = np.maximum.accumulate(np.where(fresh, np.arange(len(ranked)), 0))
    extra = np.arange(len(ranked)) - begin >= COPIES
    return np.sort(order[~extra]), (order[begin[extra]], order[extra])


def _members(owner: Rows) -> tuple[Rows, Rows]:
    """Rows sorted by value, and where each value starts: value k has rows[begin[k] : begin[k + 1]]."""
    counts = np.bincount(owner) if len(owner) else np.zeros(0, np.int64)
    return np.argsort(owner, kind="stable"), np.r_[0, np.cumsum(counts)]


def _expand(a: tuple[Rows, Rows], b: tuple[Rows, Rows], near: HashPairs) -> HashPairs:
    """Pairs of values as pairs of all their rows."""
    (rows_a, begin_a), (rows_b, begin_b) = a, b
    many_a = begin_a[near.first + 1] - begin_a[near.first]
    many_b = begin_b[near.second + 1] - begin_b[near.second]
    times = many_a * many_b
    nth = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    width = np.repeat(many_b, times)
    first = rows_a[np.repeat(begin_a[near.first], times) + nth // width]
    second = rows_b[np.repeat(begin_b[near.second], times) + nth % width]
    return HashPairs(first, second, np.repeat(near.distance, times))


def _equal(members: tuple[Rows, Rows], values: Hashes) -> HashPairs:
    """The pairs of rows of one value."""
    own = np.arange(len(values))
    pairs = _expand(members, members, HashPairs(own, own, np.zeros(len(own), np.uint8)))
    once = pairs.first < pairs.second
    return HashPairs(pairs.first[once], pairs.second[once], pairs.distance[once])


def _search(a: Hashes, b: Hashes, distance: int, same: bool) -> HashPairs:
    """Pairs of distinct values; `same`: b is a, each pair is returned once and no value is paired with itself."""
    chunks = _choose_chunks(a, b, distance)
    if not chunks:
        found = list(_all(a, b, distance, 256, same))
        return HashPairs(*_joined(found))
    found = []
    for place, chunk in enumerate(chunks):
        for first, second in _chunk_pairs(a, b, distance, chunk, same):
            differ = a[first] ^ b[second]
            fresh = np.ones(len(first), bool)
            for earlier in chunks[:place]:  # a pair is returned by the first chunk that finds it
                fresh &= np.bitwise_count(earlier.keys(differ)) > earlier.radius
            found.append((first[fresh], second[fresh], np.bitwise_count(differ[fresh])))
    return HashPairs(*_joined(found))


def _choose_chunks(a: Hashes, b: Hashes, distance: int) -> list[HashChunk]:
    """The cheapest way to cut the bits; empty: compare all pairs."""
    cuts = [_cut(*ways, distance) for ways in product(CHUNKS, (0, 2, 4), WIDEST)]
    best: list[HashChunk] = []
    least = ALL_PAIRS_COST * len(a) * len(b)
    for chunks in sorted(cuts, key=lambda chunks: _lower_bound(chunks, a, b)):
        if _lower_bound(chunks, a, b) >= least:
            break
        if (cost := _cost(chunks, a, b)) < least:
            best, least = chunks, cost
    return best


def _cut(count: int, spare: int, widest: int, distance: int) -> list[HashChunk]:
    """`count` chunks; those with the larger radius get `spare` more bits, since they are probed more often."""
    radius, more = divmod(distance, count)
    radii = [radius if place <= more else radius - 1 for place in range(count)]
    radii = [each for each in radii if each >= 0]
    weights = [spare if each == radius else 0 for each in radii]
    base, left = divmod(BITS - sum(weights), len(radii))
    widths = [min(base + weight + (place < left), widest) for place, weight in enumerate(weights)]
    shifts = [sum(widths[:place]) for place in range(len(widths))]
    return [HashChunk(*parts) for parts in zip(shifts, widths, radii, strict=True)]


def _lower_bound(chunks: list[HashChunk], a: Hashes, b: Hashes) -> float:
    """Cost of a cut, in comparisons, for evenly distributed hashes: no other distribution is cheaper."""
    met: float = sum(chunk.probes * (PROBE_COST + len(b) / (1 << chunk.width)) for chunk in chunks) * len(a)
    return met + sum(DIRECTORY_COST * (1 << chunk.width) for chunk in chunks)


def _cost(chunks: list[HashChunk], a: Hashes, b: Hashes) -> float:
    """Cost on these hashes: a probe meets at most as many pairs as there are equal chunks."""
    cost = _lower_bound(chunks, a, b)
    for chunk in chunks:
        counts = [np.bincount(chunk.keys(hashes), minlength=(1 << chunk.width)) for hashes in (a, b)]
        excess = float(counts[0].astype(np.float64) @ counts[1]) - len(a) * len(b) / (1 << chunk.width)
        cost += chunk.probes * max(excess, 0.0)
    return cost


def _chunk_pairs(a: Hashes, b: Hashes, distance: int, chunk: HashChunk, same: bool) -> Iterator[tuple[Rows, Rows]]:
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
                low = np.arange(begin, begin + len(keys)) + 1  # only the ones after it
            elif same:
                high = np.where(keys < keys ^ mask, high, low)  # the pair is found from its other hash
            for first, second in _compare(ranked_a[begin : begin + BLOCK], low, high, ranked_b, distance):
                yield order_a[begin + first], order_b[second]


def _ranked(chunk: HashChunk, hashes: Hashes) -> tuple[Rows, Rows]:
    # one sort of packed keys is faster than argsort
    packed = np.sort((chunk.keys(hashes) << 32) | np.arange(len(hashes)))
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
    short = (LONG - length[rows]).astype(np.uint8)  # one byte: numpy then uses a radix sort
    rows = rows[np.argsort(short, kind="stable")]  # longest first: the unfinished ones are a prefix
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


def _sorted(first: Rows, second: Rows, bits: Any) -> HashPairs:
    order = np.lexsort((second, first))
    return HashPairs(first[order], second[order], bits[order])
