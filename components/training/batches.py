"""An epoch's batches: row numbers first, images when they are asked for.

So the batches that a resumed training skips cost nothing, a device draws its own part alone, and the images of a
batch can be named. B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor

Ints = np.ndarray[Any, np.dtype[np.int64]]


def generator(*key: int) -> np.random.Generator:
    """Random numbers of their own for each `key`, such as (seed, epoch), among keys of one length."""
    return np.random.default_rng(np.random.SeedSequence(key))


def shuffled(count: int, batch_size: int, seed: int, epoch: int) -> list[Ints]:
    """Row numbers 0..count-1 in a new order each epoch, cut into batches of (B,); the last may be smaller.

    A rest of one image is left out: BatchNorm cannot learn from one.
    """
    order = generator(seed, epoch).permutation(count)
    batches = [order[start : start + batch_size] for start in range(0, count, batch_size)]
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches


@dataclass(frozen=True)
class Part:
    """What one device takes of a batch: rows `start` to `stop` of `whole`.

    A device for which there is no row gets one all the same, that counts for nothing: all devices must step together.
    """

    batch: Any
    start: int
    stop: int
    whole: int


@dataclass(frozen=True)
class Epoch:
    """One epoch's batches.

    >>> epoch = Epoch([np.array([2, 0]), np.array([1])], draw=lambda step, rows, first: (step, rows.tolist(), first))
    >>> list(epoch)
    [(0, [2, 0], 0), (1, [1], 2)]
    >>> [part.batch for part in epoch.parts(first=0, place=1, places=2)]
    [(0, [0], 1), (1, [1], 2)]

    Where images are mixed with each other, a device must draw the whole batch to get its part of it.
    """

    rows: Sequence[Ints]  # (B,) a batch
    draw: Callable[[int, Ints, int], Any]  # batch's number, row numbers, the first one's position in the epoch
    mixed: bool = False
    names: Callable[[Ints], Sequence[str]] | None = None  # row numbers to what a person calls them, such as image ids

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Any]:
        return (part.batch for part in self.parts(first=0, place=0, places=1))

    def parts(self, first: int, place: int, places: int) -> Iterator[Part]:
        """From batch `first` on, the part that falls to device `place` of `places`."""
        position = sum(len(rows) for rows in self.rows[:first])
        for step, rows in enumerate(self.rows[first:], first):
            start, stop = bounds(len(rows), place, places)
            yield Part(self._draw(step, rows, position, *_at_least_one(start, stop)), start, stop, len(rows))
            position += len(rows)

    def _draw(self, step: int, rows: Ints, position: int, start: int, stop: int) -> Any:
        if self.mixed and stop - start < len(rows):
            return cut(self.draw(step, rows, position), start, stop)
        return self.draw(step, rows[start:stop], position + start)


def parts(batches: Iterable[Any], first: int, place: int, places: int) -> Iterator[Part]:
    """As `Epoch.parts`; other iterables must draw what is skipped and what other devices take, too."""
    if isinstance(batches, Epoch):
        yield from batches.parts(first, place, places)
        return
    for batch in islice(batches, first, None):
        whole = count_rows(batch)
        start, stop = bounds(whole, place, places)
        mine = batch if places == 1 else cut(batch, *_at_least_one(start, stop))
        yield Part(mine, start, stop, whole)


def bounds(count: int, place: int, places: int) -> tuple[int, int]:
    """First row and the one after the last of part `place`, where `count` rows fall into `places` equal parts."""
    return count * place // places, count * (place + 1) // places


def _at_least_one(start: int, stop: int) -> tuple[int, int]:
    return (start, stop) if stop > start else (0, 1)


def count_rows(batch: Any) -> int:
    """B of a tensor, or of the first tensor in nested sequences and mappings."""
    sizes = [len(tensor) for tensor in _tensors(batch) if tensor.ndim]
    if not sizes:
        raise TypeError(f"a batch holds a tensor (B, ...), this one is {type(batch).__name__}")
    return sizes[0]


def _tensors(batch: Any) -> Iterator[Tensor]:
    if isinstance(batch, Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        yield from (tensor for value in batch.values() for tensor in _tensors(value))
    elif isinstance(batch, (tuple, list)):
        yield from (tensor for value in batch for tensor in _tensors(value))


def cut(batch: Any, start: int, stop: int) -> Any:
    """The rows from `start` up to `stop` of every tensor; numbers and words stay as they are."""
    if isinstance(batch, Tensor):
        return batch[start:stop] if batch.ndim else batch
    if isinstance(batch, Mapping):
        return {key: cut(value, start, stop) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        values = [cut(value, start, stop) for value in batch]
        return type(batch)(*values) if hasattr(batch, "_fields") else type(batch)(values)
    return batch


def pieces(part: Part, batch: Any, at_once: int | None, places: int) -> list[tuple[float, Any]]:
    """`batch`, a device's part, in equal pieces of at most `at_once` rows, each with its share of the whole batch.

    A piece's share is what its mean counts for, times `places`, as gradients are averaged over devices. All devices
    get equally many pieces.
    """
    largest = -(-part.whole // places)
    count = -(-largest // at_once) if at_once else 1
    mine = part.stop - part.start
    ends = [bounds(mine, number, count) for number in range(count)]
    shares = [(stop - start) * places / part.whole for start, stop in ends]
    if count == 1:
        return [(shares[0], batch)]
    return [(share, cut(batch, *_at_least_one(*end))) for share, end in zip(shares, ends, strict=True)]


def balanced_batches(labels: Ints, batch_size: int, numbers: np.random.Generator) -> list[Ints]:
    """An epoch's row numbers in batches (B,): as many as there are images, classes equally often.

    Images are drawn with replacement; classes without images are left out. Counts of classes differ by at
    most one over the epoch. A rest of one image is left out: BatchNorm cannot learn from one.
    """
    present = np.unique(labels)
    turns = numbers.permutation(np.resize(present, len(labels)))  # (N,) the class at each position
    rows = np.empty(len(labels), dtype=np.int64)
    for k in present:
        here = np.flatnonzero(turns == k)
        rows[here] = numbers.choice(np.flatnonzero(labels == k), size=len(here))
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches
