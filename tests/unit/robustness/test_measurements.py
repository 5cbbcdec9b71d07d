"""Runs that cannot be paired are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from components.base.errors import DataError
from components.robustness.measurements import corruption_levels
from tests.unit.robustness.simulated_runs import SETTINGS, analyse_simulated, simulate


def test_levels_are_every_corruption_at_every_strength_in_the_settings_order() -> None:
    assert corruption_levels(SETTINGS) == (("blur", 1), ("blur", 3), ("noise", 1), ("noise", 3))


def test_runs_without_a_partner_or_a_corruption_are_refused() -> None:
    measured, runs = simulate()
    with pytest.raises(DataError, match=r"imagenet-frozen has seeds \[0, 1, 2\], expected \[0, 1, 2, 3\]"):
        analyse_simulated(measured, runs[:-1])
    with pytest.raises(DataError, match=r"vae-frozen-0 has no predictions for blur at strength 1"):
        analyse_simulated(measured, [replace(runs[0], corrupted={}), *runs[1:]])
