"""A stage that shows nothing says that it works, and one that shows its progress does not."""

from __future__ import annotations

import threading
import time

import pytest

from flows.stage import stage
from flows.tracking import heartbeat as module
from flows.tracking.heartbeat import heartbeat


class Lines:
    """A log in memory."""

    def __init__(self) -> None:
        self.shown_at = time.monotonic()
        self.texts: list[str] = []

    def line(self, text: str) -> None:
        self.shown_at = time.monotonic()
        self.texts.append(text)


def test_a_silent_step_shows_that_it_works_until_it_ends() -> None:
    log = Lines()
    with heartbeat(log, silence_s=0.1):
        time.sleep(0.75)
    assert 2 <= len(log.texts) <= 7
    assert set(log.texts) <= {"still working, 0 s after the start", "still working, 1 s after the start"}
    said = list(log.texts)
    time.sleep(0.3)
    assert log.texts == said
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


def test_a_step_that_shows_lines_needs_no_other() -> None:
    log = Lines()
    with heartbeat(log, silence_s=0.5):
        for number in range(10):
            log.line(str(number))
            time.sleep(0.06)
    assert log.texts == [str(number) for number in range(10)]


def test_the_watch_ends_with_an_error_too() -> None:
    with pytest.raises(KeyError), heartbeat(Lines(), silence_s=0.1):
        raise KeyError
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.usefixtures("plain_checkout")
def test_every_stage_is_watched(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(module.heartbeat.__wrapped__, "__defaults__", (0.1,))

    @stage
    def slow() -> dict:
        time.sleep(0.5)
        return {}

    slow.run([])
    assert "slow: still working, 0 s after the start" in capsys.readouterr().out
