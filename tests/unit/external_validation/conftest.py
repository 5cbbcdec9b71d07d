"""One analysis of a planted drop, shared by the tests of its numbers, claims and page."""

from __future__ import annotations

import pytest

from components.external_validation.results import ExternalValidationResult
from tests.unit.external_validation.planted_drop import assess_runs, simulate_runs


@pytest.fixture(scope="session")
def result() -> ExternalValidationResult:
    """imagenet loses nothing, vae much; the external set has no df and no vasc."""
    return assess_runs(simulate_runs({"imagenet": (2.2, 2.2), "vae": (2.6, 1.0)}, without=("df", "vasc")))
