"""What a run shows: a live table in a terminal, else one line a stage; with -v Prefect's own log.

The time left is the sum of what the remaining stages took in earlier runs, as MLflow recorded them. Where one of them
never ran, no time is told. It is an upper limit: a stage that writes what it wrote before makes nothing stale.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.text import Text

    from flows.tracking.run_events import Listener

WAITING, RUNNING, RAN, UNCHANGED, FAILED = "waiting", "running", "ran", "unchanged", "failed"
TOOL_LINES = ("Running stage '", "> python -m ", "Stage '", "still working, ")
"""Beginnings of a stage's lines that say only that it works."""

_PROGRESS = re.compile(r"^(?P<what>\D*?)\s*(?P<done>\d+)\s*/\s*(?P<all>\d+)\b")
_SHOWN = 8
"""Stages that the live table shows at once, besides the counts."""


@dataclass
class StageView:
    """One stage of the run, as it is shown."""

    address: str
    upstream: tuple[str, ...]
    state: str = WAITING
    began: float = 0.0
    took: float = 0.0
    said: str = ""

    @property
    def kind(self) -> str:
        """The stage without its item."""
        return self.address.partition("@")[0]


class RunProgress:
    """The stages of a run and what is known of them; safe for threads."""

    def __init__(self, former: Callable[[], Mapping[str, float]], slots: int) -> None:
        """`former` gives seconds by address from earlier runs; it may take a while and is asked once, in a thread."""
        self.stages: dict[str, StageView] = {}
        self.slots = slots
        self.lock = threading.RLock()
        self._former = former
        self._seconds: Mapping[str, float] | None = None

    def plan(self, upstream: Mapping[str, tuple[str, ...]]) -> None:
        """See `run_events.Listener.planned`."""
        with self.lock:
            self.stages = {address: StageView(address, waits) for address, waits in upstream.items()}
        threading.Thread(target=self._ask, daemon=True).start()

    def _ask(self) -> None:
        try:
            found = self._former()
        except Exception:  # of any store: a time that is not known is not shown
            found = {}
        with self.lock:
            self._seconds = found

    def start(self, address: str) -> None:
        """The stage runs from now on."""
        with self.lock:
            stage = self.stages.setdefault(address, StageView(address, ()))
            stage.state, stage.began = RUNNING, time.monotonic()

    def finish(self, address: str, outcome: str) -> StageView:
        """The stage is done."""
        with self.lock:
            stage = self.stages.setdefault(address, StageView(address, ()))
            stage.took = time.monotonic() - stage.began if stage.state == RUNNING else 0.0
            stage.state = outcome
            return stage

    def count(self, *states: str) -> int:
        """How many stages are in one of these states."""
        return sum(stage.state in states for stage in self.stages.values())

    def left(self) -> float | None:
        """Seconds that the rest takes; None where a stage that will run never ran before, or nothing is known yet."""
        with self.lock:
            if self._seconds is None or self.count(FAILED):  # what depends on a failed stage does not run
                return None
            running = [stage for stage in self.stages.values() if stage.state == RUNNING]
            waiting = [stage for stage in self.stages.values() if stage.state == WAITING and self._will_run(stage)]
            known = {stage.address: self._known(stage, self._seconds) for stage in (*running, *waiting)}
            if any(seconds is None for seconds in known.values()):
                return None
            now = time.monotonic()
            rest = [max(float(known[stage.address] or 0) - (now - stage.began), 0.0) for stage in running]
            rest += [float(known[stage.address] or 0) for stage in waiting]
            return max(sum(rest) / self.slots, max(rest, default=0.0))

    def _will_run(self, stage: StageView) -> bool:
        """Whether a stage upstream runs or ran, so that this one is likely to be stale."""
        seen, todo = set[str](), list(stage.upstream)
        while todo:
            address = todo.pop()
            other = self.stages.get(address)
            if other is None or address in seen:
                continue
            seen.add(address)
            if other.state in (RUNNING, RAN):
                return True
            todo += other.upstream
        return False

    @staticmethod
    def _known(stage: StageView, seconds: Mapping[str, float]) -> float | None:
        """What the stage took; else what another item of the same stage took at most."""
        if stage.address in seconds:
            return seconds[stage.address]
        return max((took for address, took in seconds.items() if address.partition("@")[0] == stage.kind), default=None)


def say_time(seconds: float) -> str:
    """`40 s`, `3 min` or `2 h 10 min`."""
    if seconds < 90:
        return f"{max(round(seconds, -1), 10):.0f} s" if seconds >= 10 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class PlainView:
    """One line where a stage starts, says something or ends; for files, pipes and CI."""

    def __init__(self, state: RunProgress, out: TextIO) -> None:
        self.state = state
        self._out = out
        self._said: set[str] = set()

    def planned(self, upstream: Mapping[str, tuple[str, ...]]) -> None:
        """Says how many stages there are."""
        self.state.plan(upstream)
        self._print(f"{len(upstream)} stages; those that nothing has changed are skipped")

    def started(self, stage: str) -> None:
        """Says so."""
        self.state.start(stage)
        self._print(f"{stage}: started")

    def line(self, stage: str, text: str) -> None:
        """Repeated once, however many stages say the same."""
        if self._is_new(text):
            self._print(f"{stage}: {text}")

    def finished(self, stage: str, outcome: str) -> None:
        """Says how long it took, and how many are done; of an unchanged stage nothing."""
        found = self.state.finish(stage, outcome)
        if outcome == FAILED and not found.began:
            self._print(f"{stage}: not started, see the error")
        elif outcome != UNCHANGED:
            done, left = self.state.count(RAN, UNCHANGED), self.state.left()
            rest = f", at most {say_time(left)} left" if left is not None and left > 0 else ""
            word = "done" if outcome == RAN else outcome
            self._print(f"{stage}: {word} in {say_time(found.took)} ({done} of {len(self.state.stages)}{rest})")

    def _is_new(self, text: str) -> bool:
        if text.startswith(TOOL_LINES) or text in self._said:
            return False
        self._said.add(text)
        return True

    def _print(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')}  {text}", file=self._out, flush=True)


class LiveView(PlainView):
    """A table that is drawn anew: counts, time left, the stages that run with a bar; what they say scrolls above it."""

    def __init__(self, state: RunProgress, console: Console) -> None:
        super().__init__(state, sys.stdout)
        self._console = console

    def planned(self, upstream: Mapping[str, tuple[str, ...]]) -> None:
        """Kept for the table."""
        self.state.plan(upstream)

    def started(self, stage: str) -> None:
        """Kept for the table."""
        self.state.start(stage)

    def line(self, stage: str, text: str) -> None:
        """Progress goes into the table, what is new above it."""
        with self.state.lock:
            if stage in self.state.stages and not text.startswith(TOOL_LINES):
                self.state.stages[stage].said = text
        if not _PROGRESS.match(text) and self._is_new(text):
            self._print(f"{stage}: {text}")

    def finished(self, stage: str, outcome: str) -> None:
        """A failed stage stays visible above the table."""
        found = self.state.finish(stage, outcome)
        if outcome == FAILED and found.began:
            self._print(f"{stage}: failed after {say_time(found.took)}")

    def _print(self, text: str) -> None:
        self._console.print(text, style="dim", markup=False, highlight=False)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The table, as rich asks for it."""
        from rich.text import Text

        with self.state.lock:
            stages, left = list(self.state.stages.values()), self.state.left()
            done, failed = self.state.count(RAN, UNCHANGED), self.state.count(FAILED)
        if not stages:
            yield Text("reading graph and settings")
            return
        head = Text(f"{done} of {len(stages)} stages", style="bold")
        head.append(f", {failed} failed" if failed else "", style="red")
        head.append(f", at most {say_time(left)} left" if left else "", style="not bold")
        yield head
        running = [stage for stage in stages if stage.state == RUNNING]
        for stage in running[:_SHOWN]:
            yield _row(stage, options.max_width)
        for stage in [stage for stage in stages if stage.state in (RAN, FAILED)][-max(_SHOWN - len(running), 0) :]:
            style = "red" if stage.state == FAILED else "green"
            yield Text(f"  {stage.state:<9} {stage.address}  {say_time(stage.took)}", style=style, overflow="ellipsis")


def _row(stage: StageView, width: int) -> Text:
    """A stage that runs: its seconds, a bar where it tells how far it is, else what it said last."""
    from rich.text import Text

    row = Text(f"  {RUNNING:<9} {stage.address}  {say_time(time.monotonic() - stage.began)}  ", style="cyan")
    found = _PROGRESS.match(stage.said)
    if found and int(found["all"]):
        share = min(int(found["done"]) / int(found["all"]), 1.0)
        row.append("━" * round(20 * share), style="cyan")
        row.append("━" * (20 - round(20 * share)), style="dim")
        row.append(f" {found['what']} {found['done']}/{found['all']}", style="dim")
    else:
        row.append(stage.said, style="dim")
    row.truncate(width, overflow="ellipsis")
    return row


@contextmanager
def shown_run(verbose: bool) -> Iterator[None]:
    """Show the run within; call it before prefect is imported, whose console it turns off.

    Args:
        verbose: whether Prefect's log is shown instead.
    """
    from flows.tracking.run_events import listening

    if verbose:
        yield
        return
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    logging.getLogger("dvc.progress").setLevel(logging.CRITICAL)  # else DVC draws bars into the table
    if not sys.stdout.isatty():
        with listening(PlainView(_state(), sys.stdout)):
            yield
        return
    from rich.console import Console
    from rich.live import Live

    console = Console()
    view: Listener = LiveView(_state(), console)
    with Live(view, console=console, refresh_per_second=2, transient=True), listening(view):  # type: ignore[arg-type]
        yield


def _state() -> RunProgress:
    return RunProgress(former_seconds, os.cpu_count() or 1)


def former_seconds() -> dict[str, float]:
    """Address -> seconds that the stage took when it last finished, in the study's experiment of MLflow."""
    from flows.settings import load_settings
    from flows.tracking.mlflow_log import find_experiment, open_client

    settings, client = load_settings(), open_client()
    study = find_experiment(client, settings.study.name)
    if study is None:
        return {}
    found: dict[str, float] = {}
    runs = client.search_runs([study.experiment_id], "attributes.status = 'FINISHED'", max_results=500)
    for run in runs:  # the newest first
        tags = run.data.tags
        if "stage" in tags and run.info.end_time:
            address = f"{tags['stage']}@{tags['item']}" if tags.get("item") else tags["stage"]
            found.setdefault(address, (run.info.end_time - run.info.start_time) / 1000)
    return found
