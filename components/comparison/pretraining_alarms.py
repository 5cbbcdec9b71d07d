"""What the pretraining of each arm found wrong with itself."""

from __future__ import annotations

from collections.abc import Sequence

from components.statistics.runs import Run


def pretraining_alarms(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """By arm, its alarms with any seed, each once and without numbers: `dead decoder` of `dead decoder: 3 %`."""
    found: dict[str, dict[str, None]] = {run.arm: {} for run in runs}
    for run in runs:
        found[run.arm] |= dict.fromkeys(alarm.partition(":")[0] for alarm in run.summary.get("alarms", ()))
    return {arm: tuple(alarms) for arm, alarms in found.items()}
