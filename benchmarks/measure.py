"""Timings that can be compared on a noisy machine: two ways in turn, A B A B ..., in CPU time, ratios pair by pair."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Result:
    """One entry of benchmarks/results.json; `spread` is the range over the repeats."""

    name: str
    value: float
    goal: str
    spread: tuple[float, float]
    unit: str
    command: str

    def record(self) -> dict[str, object]:
        return asdict(self)


def cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def rounds(*ways: Callable[[], object], repeats: int = 7) -> list[tuple[float, ...]]:
    """CPU seconds of each way, measured in turn, A B C A B C ..., after one round as warm-up."""
    for way in ways:
        way()
    return [tuple(cpu_seconds(way) for way in ways) for _ in range(repeats)]


def ratios(ours: Callable[[], object], theirs: Callable[[], object], repeats: int = 7) -> list[float]:
    """How many times faster `ours` is than `theirs`, pair by pair, after one pair as warm-up."""
    return [that / this for this, that in rounds(ours, theirs, repeats=repeats)]


def summarise(name: str, values: list[float], goal: str, unit: str, command: str) -> Result:
    middle = statistics.median(values)
    return Result(name, round(middle, 3), goal, (round(min(values), 3), round(max(values), 3)), unit, command)
