"""The alarms of an arm's pretraining over its seeds: those that differ only in their numbers are one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def group_alarms(by_seed: Mapping[int, Sequence[str]]) -> tuple[str, ...]:
    """Each alarm once, in the order in which the seeds raise them.

    A number that differs between seeds is written from the lowest to the highest, and an alarm that not all seeds raise
    names those that do: `posterior collapse: 1 to 3 of 64 latents are active (seeds 0, 2)`.

    Args:
        by_seed: of each seed of the arm, its alarms.
    """
    raised: dict[str, dict[int, str]] = {}  # by the text without numbers, the text of each seed
    for seed, alarms in by_seed.items():
        for alarm in alarms:
            raised.setdefault(_NUMBER.sub("#", alarm), {}).setdefault(seed, alarm)
    return tuple(_together(texts) + _seeds(list(texts), len(by_seed)) for texts in raised.values())


def _together(texts: Mapping[int, str]) -> str:
    """One text for several that differ only in their numbers."""
    first = next(iter(texts.values()))
    columns = iter(zip(*(_NUMBER.findall(text) for text in texts.values()), strict=True))
    return _NUMBER.sub(lambda _: _range(next(columns)), first)


def _range(numbers: Sequence[str]) -> str:
    low, high = min(numbers, key=float), max(numbers, key=float)
    return low if float(low) == float(high) else f"{low} to {high}"


def _seeds(raised_by: Sequence[int], seeds: int) -> str:
    """Which seeds raise an alarm; empty where all do."""
    if len(raised_by) == seeds:
        return ""
    return f" (seed{'s' * (len(raised_by) != 1)} {', '.join(map(str, raised_by))})"
