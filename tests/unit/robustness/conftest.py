"""The result that several tests of the robustness analysis read."""

from __future__ import annotations

import pytest

from components.robustness.analysis import RobustnessResult
from tests.unit.robustness.simulated_runs import analyse_simulated, simulate


@pytest.fixture(scope="session")
def planted() -> RobustnessResult:
    """The VAE loses under noise; ImageNet's border predicts the class."""
    return analyse_simulated(*simulate())
