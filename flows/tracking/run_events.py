"""What happens to the stages of a run, for the part that shows it; without a listener nothing is shown here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol


class Listener(Protocol):
    """What a terminal needs to know; called from the threads of a run, in any order of stages."""

    def planned(self, upstream: Mapping[str, tuple[str, ...]]) -> None:
        """The run has these stages: address -> the stages it waits for, in running order."""

    def started(self, stage: str) -> None:
        """The stage is stale, and its process begins."""

    def line(self, stage: str, text: str) -> None:
        """The stage printed a line."""

    def finished(self, stage: str, outcome: str) -> None:
        """The stage is done: `ran`, `unchanged` or `failed`; a stage that is tried again starts again."""


class Silent:
    """The listener of a run that is not shown."""

    def planned(self, upstream: Mapping[str, tuple[str, ...]]) -> None:
        """Nothing."""

    def started(self, stage: str) -> None:
        """Nothing."""

    def line(self, stage: str, text: str) -> None:
        """Nothing."""

    def finished(self, stage: str, outcome: str) -> None:
        """Nothing."""


_LISTENING: list[Listener] = [Silent()]
_RAN: set[str] = set()


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Tell everything to this listener."""
    _LISTENING.append(listener)
    try:
        yield
    finally:
        _LISTENING.remove(listener)


def listener() -> Listener:
    """The listener of this process."""
    return _LISTENING[-1]


@contextmanager
def following(stage: str) -> Iterator[None]:
    """Tell how a stage ends: it ran where `starting` was called within, else it was unchanged."""
    _RAN.discard(stage)
    try:
        yield
    except BaseException:
        listener().finished(stage, "failed")
        raise
    listener().finished(stage, "ran" if stage in _RAN else "unchanged")


def starting(stage: str) -> None:
    """Tell that a stage begins."""
    _RAN.add(stage)
    listener().started(stage)
