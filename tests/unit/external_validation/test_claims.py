"""The sentences hold the numbers of the result and claim no more."""

from __future__ import annotations

import re

import pytest

from components.external_validation.page import draw_figures, render
from components.external_validation.results import ExternalValidationResult
from tests.unit.external_validation.planted_drop import assess_runs, simulate_runs


def test_a_planted_drop_is_claimed_and_none_where_there_is_none(result: ExternalValidationResult) -> None:
    claims = [claim.text for claim in result.claims]
    assert re.match(r"imagenet, frozen: no drop can be shown on pad; balanced accuracy changes by", claims[0])
    lost = r"vae, frozen loses (\d+\.\d) points of balanced accuracy \(95 % (\d+\.\d) to (\d+\.\d)\) on pad\.$"
    match = re.match(lost, claims[1])
    assert match is not None, claims[1]
    loss, low, high = map(float, match.groups())
    change = result.models[1].changes["balanced_accuracy"]
    assert loss == pytest.approx(-100 * change.drop.mean, abs=0.051) and low < loss < high
    assert change.drop.mean == pytest.approx(change.external.mean - change.internal.mean)
    assert claims[2].startswith("vae, frozen, loses more than imagenet: their changes differ by")
    assert claims[3] == (
        "The order of arms is not the same on pad (frozen): vae before imagenet on the internal test, imagenet before "
        "vae on pad; the intervals of two arms exclude zero on both sets, with opposite signs."
    )


def test_few_seeds_decide_nothing() -> None:
    runs = [run for run in simulate_runs({"imagenet": (2.6, 0.8)}) if run.seed < 2]
    claims = assess_runs(runs, arms=("imagenet",)).claims
    assert claims[0].text.startswith("imagenet, frozen: no drop can be shown on pad")
    assert claims[0].text.endswith("Nothing is decided from 2 seeds: compare.min_seeds requires 3.")
    assert len(claims) == 1


def test_drawings_are_called_drawings() -> None:
    runs = simulate_runs({"imagenet": (2.2, 2.2)}, lesions=(120, 90))
    found = assess_runs(runs, arms=("imagenet",), synthetic=True)
    assert all(claim.text.startswith("SYNTHETIC, pipeline check, not evidence:") for claim in found.claims)
    assert "SYNTHETIC DATA" in render(found, draw_figures(found))
