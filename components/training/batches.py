"""The batches of an epoch: row numbers first, images only when they are needed.

So a resumed training does not draw the batches that it skips, a device draws only its own part of each batch, and the
images of a batch can be named. B batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from torch import Tensor

from components.models.encoder import Ints


def generator(*key: int) -> np.random.Generator:
    """A random generator of its own for each `key`, such as (seed, epoch), among keys of one length."""
    return np.random.default_rng(np.random.SeedSequence(key))


def shuffled_batches(count: int, batch_size: int, seed: int, epoch: int) -> list[Ints]:
    """Row numbers 0 to count - 1 in a new order each epoch, cut into batches (B,); the last may be smaller.

    A last batch of one image is left out: BatchNorm cannot train on one image.
    """
    order = generator(seed, epoch).permutation(count)
    return _cut_into_batches(order, batch_size)


def balanced_batches(labels: Ints, batch_size: int, rng: np.random.Generator) -> list[Ints]:
    """Row numbers of one epoch in batches (B,), with as many images as `labels` (N,) and each class equally often.

    Images are drawn with replacement; classes without images are left out. The counts of the classes over the epoch
    differ by at most one. A last batch of one image is left out: BatchNorm cannot train on one image.
    """
    present = np.unique(labels)
    classes = rng.permutation(np.resize(present, len(labels)))  # (N,) the class at each position
    rows = np.empty(len(labels), dtype=np.int64)
    for k in present:
        here = np.flatnonzero(classes == k)
        rows[here] = rng.choice(np.flatnonzero(labels == k), size=len(here))
    return _cut_into_batches(rows, batch_size)


def _cut_into_batches(order: Ints, batch_size: int) -> list[Ints]:
    batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches


@dataclass(frozen=True)
class BatchPart:
    """One device's part of a batch: rows `start` to `stop` of the `whole` batch's number of rows.

    A device whose part is empty gets one row, which has weight 0: all devices must make each step together.
    """

    batch: Any
    start: int
    stop: int
    whole: int


@dataclass(frozen=True)
class EpochBatches:
    """The batches of one epoch.

    >>> rows = [np.array([2, 0]), np.array([1])]
    >>> epoch = EpochBatches(rows, draw=lambda step, rows, first: (step, rows.tolist(), first))
    >>> list(epoch)
    [(0, [2, 0], 0), (1, [1], 2)]
    >>> [part.batch for part in epoch.parts(first=0, place=1, places=2)]
    [(0, [0], 1), (1, [1], 2)]
    """

    rows: Sequence[Ints]
    """Row numbers (B,) of each batch."""
    draw: Callable[[int, Ints, int], Any]
    """From the batch's number, row numbers, and the position of the first one in the epoch, to the batch."""
    mixed: bool = False
    """True where images are mixed with each other: a device then draws the whole batch to get its part."""
    names: Callable[[Ints], Sequence[str]] | None = None
    """From row numbers to names for people, such as image ids."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Any]:
        return (part.batch for part in self.parts(first=0, place=0, places=1))

    def parts(self, first: int, place: int, places: int) -> Iterator[BatchPart]:
        """The part of device `place` (from 0) of `places`, of each batch from number `first` on."""
        position = sum(len(rows) for rows in self.rows[:first])
        for step, rows in enumerate(self.rows[first:], first):
            start, stop = bounds(len(rows), place, places)
            part = self._draw(step, rows, position, *_at_least_one(start, stop))
            yield BatchPart(part, start, stop, len(rows))
            position += len(rows)

    def _draw(self, step: int, rows: Ints, position: int, start: int, stop: int) -> Any:
        if self.mixed and stop - start < len(rows):
            return cut(self.draw(step, rows, position), start, stop)
        return self.draw(step, rows[start:stop], position + start)


def batch_parts(batches: Iterable[Any], first: int, place: int, places: int) -> Iterator[BatchPart]:
    """As `EpochBatches.parts`, for any iterable of batches; other kinds draw also what is skipped."""
    if isinstance(batches, EpochBatches):
        yield from batches.parts(first, place, places)
        return
    for batch in islice(batches, first, None):
        whole = count_rows(batch)
        start, stop = bounds(whole, place, places)
        own = batch if places == 1 else cut(batch, *_at_least_one(start, stop))
        yield BatchPart(own, start, stop, whole)


def bounds(count: int, place: int, places: int) -> tuple[int, int]:
    """First row of part `place`, and the row after its last, where `count` rows are cut into `places` equal parts."""
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
    """Rows `start` to `stop` of every tensor in the batch; other values stay the same."""
    if isinstance(batch, Tensor):
        return batch[start:stop] if batch.ndim else batch
    if isinstance(batch, Mapping):
        return {key: cut(value, start, stop) for key, value in batch.items()}
    if isinstance(batch, (tuple, list)):
        values = [cut(value, start, stop) for value in batch]
        return type(batch)(*values) if hasattr(batch, "_fields") else type(batch)(values)
    return batch


def micro_batches(part: BatchPart, batch: Any, limit: int | None, places: int) -> list[tuple[float, Any]]:
    """`batch`, a device's part of a batch, cut into micro-batches of at most `limit` rows, each with its weight.

    The weight multiplies the mean loss of a micro-batch, so that the sum is the mean over the whole batch. It contains
    the factor `places`, because gradients are averaged over devices. All devices get the same number of micro-batches.
    """
    largest = -(-part.whole // places)
    count = -(-largest // limit) if limit else 1
    own = part.stop - part.start
    ends = [bounds(own, number, count) for number in range(count)]
    weights = [(stop - start) * places / part.whole for start, stop in ends]
    if count == 1:
        return [(weights[0], batch)]
    return [(weight, cut(batch, *_at_least_one(*end))) for weight, end in zip(weights, ends, strict=True)]
