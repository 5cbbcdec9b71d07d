"""What an epoch costs: images a second, share of time spent waiting for data, peak memory."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from components.training.batches import Epoch as Epoch
from components.training.batches import Part
from components.training.batches import generator as generator  # who trains needs these too, from one place
from components.training.batches import shuffled as shuffled
from components.training.session import Session as Session
from components.training.session import open_session as open_session

Row = dict[str, float]


@dataclass
class _Cost:
    """What an epoch has cost this process so far."""

    began: float = field(default_factory=time.monotonic)
    waited: float = 0.0  # seconds, for batches to be drawn
    images: int = 0  # of the whole batches, on all devices

    def of(self, coming: Iterator[Part]) -> Iterator[Part]:
        """Hand `coming` on, taking the time."""
        while True:
            asked = time.monotonic()
            part = next(coming, None)
            self.waited += time.monotonic() - asked
            if part is None:
                return
            self.images += part.whole
            yield part

    def tell(self, device: str) -> Row:
        """Rate, wait and memory; a GPU may have worked on while the next batch was drawn."""
        seconds = time.monotonic() - self.began
        on_gpu = device == "cuda"
        peak = torch.cuda.max_memory_allocated() if on_gpu else _peak_rss()
        return {
            "system/images_per_second": self.images / seconds,
            "system/data_wait_share": self.waited / seconds,
            "system/peak_memory_gib": peak / 2**30,
        }


def _peak_rss() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts KiB
