"""What a run shows: counts, time left only where it is known, one line for what all stages say, a bar in a terminal."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping

import pytest
from rich.console import Console

from flows.commands import run_view
from flows.commands.run_view import FAILED, RAN, UNCHANGED, LiveView, PlainView, RunProgress, say_time
from flows.tracking.run_events import following, listener, listening, starting
from flows.tracking.terminal import _lines

GRAPH = {
    "pack": (),
    "pretrain@vae-0": ("pack",),
    "pretrain@vae-1": ("pack",),
    "compare": ("pretrain@vae-0", "pretrain@vae-1"),
}


def planned(seconds: Mapping[str, float], slots: int = 1) -> RunProgress:
    """A run of GRAPH whose earlier durations are known."""
    state = RunProgress(lambda: seconds, slots)
    state.plan(GRAPH)
    until = time.monotonic() + 5
    while state._seconds is None and time.monotonic() < until:
        time.sleep(0.01)
    return state


def test_the_time_left_is_that_of_earlier_runs_less_what_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    state = planned({"pack": 10, "pretrain@vae-0": 60, "compare": 30})
    now = [100.0]
    monkeypatch.setattr(run_view.time, "monotonic", lambda: now[0])
    assert state.left() == 0  # nothing is known to be stale
    state.start("pack")
    now[0] = 104
    assert state.left() == pytest.approx(6 + 60 + 60 + 30)  # an item that never ran counts as another item of its stage
    state.finish("pack", RAN)
    state.slots = 2
    assert state.left() == pytest.approx((60 + 60 + 30) / 2)


def test_no_time_is_told_where_a_stage_never_ran() -> None:
    state = planned({"pack": 10, "compare": 30})
    state.start("pack")
    assert state.left() is None
    state.finish("pack", UNCHANGED)
    assert state.left() == 0  # what follows from an unchanged stage is not stale


def test_a_store_that_fails_leaves_the_time_unknown() -> None:
    def fail() -> Mapping[str, float]:
        raise OSError("no database")

    state = RunProgress(fail, 1)
    state.plan(GRAPH)
    state.start("pack")
    time.sleep(0.05)
    assert state.left() is None


def test_plain_lines_say_each_thing_once_and_no_plumbing() -> None:
    out = io.StringIO()
    view = PlainView(RunProgress(dict, 1), out)
    view.planned(GRAPH)
    for stage in ("pretrain@vae-0", "pretrain@vae-1"):
        view.started(stage)
        view.line(stage, f"Running stage '{stage}':")
        view.line(stage, f"> python -m flows.pretrain {stage}")
        view.line(stage, "no GPU found: running on the CPU")
        view.finished(stage, RAN)
    view.finished("pack", UNCHANGED)
    view.finished("compare", FAILED)
    lines = [line.partition("  ")[2] for line in out.getvalue().splitlines()]
    assert lines[0] == "4 stages; those that nothing has changed are skipped"
    assert lines.count("pretrain@vae-0: no GPU found: running on the CPU") == 1
    assert lines[-2:] == ["pretrain@vae-1: done in 0 s (2 of 4)", "compare: not started, see the error"]
    assert len(lines) == 7


def test_the_table_shows_counts_and_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    state = planned({"pack": 10, "pretrain@vae-0": 60, "compare": 30})
    console = Console(file=io.StringIO(), width=100, force_terminal=False)
    view = LiveView(state, console)
    state.start("pack")
    view.finished("pack", RAN)
    view.started("pretrain@vae-0")
    view.line("pretrain@vae-0", "epochs 3/12, 0.1/s, 90 s left")
    console.print(view)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "1 of 4 stages, at most 2 min left" in shown
    assert "running   pretrain@vae-0" in shown
    assert "━" * 20 + " epochs 3/12" in shown
    assert "ran       pack" in shown


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(3.4, "3 s"), (42, "40 s"), (89, "90 s"), (95, "2 min"), (5400, "1 h 30 min"), (5000, "83 min")],
)
def test_a_time_is_rounded_as_a_person_would(seconds: float, words: str) -> None:
    assert say_time(seconds) == words


def test_a_stage_is_followed_to_its_end() -> None:
    seen: list[tuple[str, ...]] = []

    class Noted:
        def planned(self, upstream: Mapping[str, tuple[str, ...]]) -> None:
            seen.append(tuple(upstream))

        def started(self, stage: str) -> None:
            seen.append(("started", stage))

        def line(self, stage: str, text: str) -> None:
            seen.append((stage, text))

        def finished(self, stage: str, outcome: str) -> None:
            seen.append((outcome, stage))

    with listening(Noted()):
        with following("pack"):
            pass
        with following("split"):
            starting("split")
        with pytest.raises(ZeroDivisionError), following("ingest"):
            starting("ingest")
            raise ZeroDivisionError
    listener().started("nobody listens")
    assert seen == [
        ("unchanged", "pack"), ("started", "split"), ("ran", "split"), ("started", "ingest"), ("failed", "ingest"),
    ]  # fmt: skip


def test_progress_tells_no_time_left_after_one_item(monkeypatch: pytest.MonkeyPatch) -> None:
    """30 s until the first item is there, then one a second: the first minutes are no measure of the rest."""
    import flows.tracking.terminal as terminal

    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    said: list[str] = []

    def items() -> object:
        now[0] += 30
        for number in range(120):
            yield number
            now[0] += 11 if number == 0 else 1

    for _ in _lines(items(), 120, "images scanned", said.append):  # type: ignore[arg-type]
        pass
    assert said[0] == "images scanned 1/120"
    assert said[1].startswith("images scanned 11/120, ")
    assert float(said[-1].split(", ")[2].split()[0]) < 15
