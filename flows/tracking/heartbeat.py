"""A line of a stage that has shown nothing for a while, so that a person can tell a long step from one that hangs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

SILENCE_S = 30.0  # seconds without a line


class Spoken(Protocol):
    """A log that knows when it last showed something."""

    shown_at: float
    """`time.monotonic` of the last line."""

    def line(self, text: str) -> None:
        """Show one line."""


@contextmanager
def heartbeat(log: Spoken, silence_s: float = SILENCE_S) -> Iterator[None]:
    """Within the block, show how long it has been working whenever nothing was shown for `silence_s` seconds."""
    ended = threading.Event()
    began = time.monotonic()

    def watch() -> None:
        while not ended.wait(max(log.shown_at + silence_s - time.monotonic(), 0.01)):
            if time.monotonic() - log.shown_at >= silence_s:
                log.line(f"still working, {time.monotonic() - began:.0f} s after the start")

    watcher = threading.Thread(target=watch, name="heartbeat", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
