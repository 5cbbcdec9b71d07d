"""What a command shows in the terminal: lines, and progress with rate and time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from components.base.log import SilentLog

T = TypeVar("T")

BETWEEN_LINES_S = 10
"""Seconds between two lines of progress where there is no terminal."""


class EchoLog(SilentLog):
    """Passes lines and progress to `echo`; numbers stay in memory."""

    def __init__(self, echo: Callable[[str], None]) -> None:
        super().__init__()
        self.echo = echo

    def line(self, text: str) -> None:
        """Passed to `echo`."""
        self.echo(text)

    def track(self, items: Iterable[T], total: int, what: str) -> Iterable[T]:
        """The items, with a progress bar on a terminal, else with lines."""
        return track(items, total, what, self.echo)


def track(items: Iterable[T], total: int, what: str, line: Callable[[str], None], name: str = "") -> Iterator[T]:
    """The items, with a progress bar on a terminal, else with a line every BETWEEN_LINES_S at most.

    Args:
        items: iterated once.
        total: their number.
        what: the unit, such as "images packed".
        line: shows a line of progress.
        name: shown before `what` in the bar.
    """
    if sys.stderr.isatty():
        return _bar(items, total, f"{name}: {what}" if name else what)
    return _lines(items, total, what, line)


def _lines(items: Iterable[T], total: int, what: str, line: Callable[[str], None]) -> Iterator[T]:
    last = time.monotonic()
    first = (
        last  # when the first item was there: what came before, such as starting processes, is no measure of the rest
    )
    for done, item in enumerate(items):
        now = time.monotonic()
        if done == 0:
            first = now
        elif now - last >= BETWEEN_LINES_S:
            rate = done / max(now - first, 1e-9)
            rest = f", {rate:.3g}/s, {(total - done) / rate:.0f} s left" if _tells_rate(done, total) else ""
            line(f"{what} {done}/{total}{rest}")
            last = now
        yield item


def _tells_rate(done: int, total: int) -> bool:
    """Whether enough is done for a rate to hold for the rest: a twentieth, and ten items or half of all."""
    return done * 20 >= total and done >= min(10, total / 2)


def _bar(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, total=total, description=what)
