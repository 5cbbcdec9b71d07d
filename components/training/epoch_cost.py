"""The cost of an epoch: images per second, share of time spent waiting for data, peak memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from components.training.batches import BatchPart
from components.training.history import EpochRow
from components.training.session import Device


@dataclass
class EpochCost:
    """The cost of an epoch so far, in this process."""

    began: float = field(default_factory=time.monotonic)
    waited: float = 0.0
    """Seconds that the training waited for batches."""
    images: int = 0
    """Of whole batches, on all devices."""

    def measure(self, parts: Iterator[BatchPart]) -> Iterator[BatchPart]:
        """The same parts; counts images and the time until each part is there."""
        while True:
            started = time.monotonic()
            part = next(parts, None)
            self.waited += time.monotonic() - started
            if part is None:
                return
            self.images += part.whole
            yield part

    def row(self, device: Device) -> EpochRow:
        """Rate, wait and memory; a GPU can compute while the next batch is drawn, so the wait can hide in a step."""
        seconds = time.monotonic() - self.began
        on_gpu = device == "cuda"
        peak = torch.cuda.max_memory_allocated() if on_gpu else _peak_rss()
        return {
            "system/images_per_second": self.images / seconds,
            "system/data_wait_share": self.waited / seconds,
            "system/peak_memory_gib": peak / 2**30,
        }


def _peak_rss() -> int:
    """Bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts KiB
