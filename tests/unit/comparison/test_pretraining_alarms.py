"""Alarms of an arm over its seeds."""

from __future__ import annotations

import pandas as pd

from components.base.run_id import FinetuneProtocol, RunId
from components.comparison.pretraining_alarms import pretraining_alarms
from components.statistics.runs import Run


def run(arm: str, seed: int, *alarms: str) -> Run:
    return Run(RunId(arm, FinetuneProtocol.FROZEN, seed), pd.DataFrame(), summary={"alarms": list(alarms)})


def test_alarms_of_any_seed_count_once() -> None:
    runs = [
        run("vae", 0, "dead decoder: 3 % of the variance"),
        run("vae", 1, "dead decoder: 4 % of the variance", "not converged: 8 % in the last epoch"),
        run("imagenet", 0),
    ]
    assert pretraining_alarms(runs) == {"vae": ("dead decoder", "not converged"), "imagenet": ()}
