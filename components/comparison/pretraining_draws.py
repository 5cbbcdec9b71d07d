"""Whether the seeds of an arm drew its pretraining anew, or all start from one fixed set of weights.

A seed draws everything anew: pretraining, head, batches and augmentation. So runs of different seeds are independent,
and the between-seed variance includes that of the pretraining, unless it gives every seed the same weights: then the
hashes of their encoders are equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from components.base.errors import DataError
from components.statistics.runs import REPEAT, Run, encoders


@dataclass(frozen=True)
class PretrainingDraws:
    """How many different pretrainings the runs of an arm started from."""

    draws: int
    """Different sets of weights."""
    seeds: int
    words: str
    """What that means for the arm's intervals."""

    @property
    def is_complete(self) -> bool:
        """True where each of several seeds started from weights of its own."""
        return 1 < self.draws == self.seeds


def pretraining_draws(runs: Sequence[Run]) -> dict[str, PretrainingDraws]:
    """The draws of each arm; its encoder with one seed is checked to be the same under every protocol.

    Raises:
        DataError: names a run without a hash, or one that started from another encoder of its arm and seed.
    """
    found: dict[str, dict[int, str]] = {}
    hashes = encoders(runs)
    for run in runs:
        mine = hashes[run.id.conditions][run.arm]
        first = found.setdefault(run.arm, {}).setdefault(run.seed, mine)
        if mine != first:
            raise DataError(
                f"finetune run {run.name} and one under another protocol started from different encoders of "
                f"{run.id.encoder} ({mine[:12]} and {first[:12]}), expected the same; {REPEAT}"
            )
    return {arm: _describe(len(set(of_arm.values())), len(of_arm)) for arm, of_arm in found.items()}


def _describe(draws: int, seeds: int) -> PretrainingDraws:
    if seeds == 1:
        words = "one seed, so one pretraining: its variance is in no interval"
    elif draws == 1:
        words = (
            "one fixed set of weights: the seeds vary the head and its training only; the interval holds for these "
            "weights"
        )
    elif draws == seeds:
        words = "each seed draws the pretraining anew, so intervals include its variance"
    else:
        words = f"{draws} sets of weights for {seeds} seeds: intervals include a part of the pretraining's variance"
    return PretrainingDraws(draws, seeds, words)
