"""One analysis of planted learning curves, shared by the tests of its numbers, words and page."""

from __future__ import annotations

import pytest

from components.label_efficiency.analysis import LabelEfficiencyResult
from tests.unit.label_efficiency.planted_curves import assess_runs, simulate_runs


@pytest.fixture(scope="session")
def result() -> LabelEfficiencyResult:
    return assess_runs(simulate_runs(lesions=800))
