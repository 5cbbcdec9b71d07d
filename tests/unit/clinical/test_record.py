"""What is written of an assessment."""

from __future__ import annotations

import json

import numpy as np
import pytest

from components.clinical.assessment import HEADLINE, ClinicalAssessment
from components.clinical.record import as_metrics, as_record
from tests.unit.clinical.simulated_assessment import SKILLS, assess_simulation


@pytest.fixture(scope="module")
def study() -> ClinicalAssessment:
    """Two arms, four seeds, three hundred test lesions."""
    return assess_simulation()


def test_the_same_runs_give_the_same_record(study: ClinicalAssessment) -> None:
    text = json.dumps(as_record(study), allow_nan=False)
    assert text == json.dumps(as_record(assess_simulation()), allow_nan=False)


def test_thresholds_and_temperatures_are_stored_to_the_last_bit(study: ClinicalAssessment) -> None:
    stored = json.loads(json.dumps(as_record(study)))["sheets"]
    for model, record in zip(study.models, stored, strict=True):
        assert tuple(record["calibration"]["temperatures"]) == model.calibration.temperatures
        for task, written in zip(model.operating, record["operating"], strict=True):
            for point, each in zip(task.points, written["points"], strict=True):
                assert tuple(each["thresholds"]) == point.thresholds


def test_metrics_to_follow_are_finite_and_named_by_run(study: ClinicalAssessment) -> None:
    found = as_metrics(study)
    assert set(found) == {
        f"{name}-frozen/{key}" for name in SKILLS for key in (*HEADLINE, "calibration_squared", "conformal_coverage")
    }
    assert np.isfinite(list(found.values())).all()
