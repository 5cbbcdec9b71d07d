"""Whether a training had stopped improving when it ended, from the curve of its measure on val."""

from __future__ import annotations

from collections.abc import Sequence

MOST_CHANGE = 0.05
"""Share of the whole improvement that the last epoch may still add."""


def find_unfinished(values: Sequence[float], what: str) -> list[str]:
    """The alarm of a training that was still improving, with its numbers; empty for one that had settled.

    The whole improvement is counted from the worst to the best epoch: the values themselves can be near 0.

    Args:
        values: one an epoch, higher is better.
        what: the improvement in words, such as `rise of the ELBO on val`.
    """
    if len(values) < 2:
        return [f"not converged: one epoch alone does not show the end of the {what}"]
    last, whole = values[-1] - values[-2], max(values) - min(values)
    if last <= MOST_CHANGE * whole:
        return []
    return [
        f"not converged: the last of {len(values)} epochs still added {last / whole:.0%} of the whole {what} "
        f"(expected {MOST_CHANGE:.0%} or less)"
    ]
