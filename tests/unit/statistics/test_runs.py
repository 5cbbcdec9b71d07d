"""Identical conditions: equal fingerprints, where heads of one architecture alone are compared."""

from __future__ import annotations

import pandas as pd
import pytest

from components.base.errors import DataError
from components.base.run_id import RunId
from components.statistics.runs import FINGERPRINTS, SAME_ARCHITECTURE, Run, check_conditions

PRINTS = {name: f"{name} of all" for name in FINGERPRINTS}


def run(name: str, kind: str, **changes: str) -> Run:
    summary = {"architecture": {"kind": kind}, **PRINTS, **changes}
    return Run(RunId.parse(name), pd.DataFrame(), summary=summary)


def test_another_architecture_has_another_head():
    runs = [run("vae-frozen-0", "net"), run("colour-frozen-0", "colour", head_init_sha256="other")]
    assert check_conditions(runs) == {"frozen-0": PRINTS}


def test_heads_of_one_architecture_are_equal_whichever_arm_comes_first():
    runs = [
        run("colour-frozen-0", "colour", head_init_sha256="other"),
        run("vae-frozen-0", "net"),
        run("random-frozen-0", "net", head_init_sha256="third"),
    ]
    with pytest.raises(DataError, match=r"vae-frozen-0 and random-frozen-0 differ in head_init_sha256 .*third"):
        check_conditions(runs)


@pytest.mark.parametrize("name", sorted(set(FINGERPRINTS) - set(SAME_ARCHITECTURE)))
def test_all_else_is_equal_for_every_architecture(name):
    runs = [run("vae-frozen-0", "net"), run("colour-frozen-0", "colour", **{name: "other"})]
    with pytest.raises(DataError, match=f"differ in {name}"):
        check_conditions(runs)


def test_seeds_are_not_compared_with_each_other():
    runs = [run("vae-frozen-0", "net"), run("vae-frozen-1", "net", batches_sha256="other")]
    assert set(check_conditions(runs)) == {"frozen-0", "frozen-1"}
