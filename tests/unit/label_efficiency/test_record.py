"""The record and the tracked numbers are plain, finite and deterministic."""

from __future__ import annotations

import json

import numpy as np
import pytest

from components.label_efficiency.analysis import LabelEfficiencyResult
from components.label_efficiency.record import as_metrics, as_record
from tests.unit.label_efficiency.planted_curves import (
    CROSSING,
    assess_runs,
    simulate_runs,
)


def test_record_and_metrics_are_plain_and_the_same_each_time(result: LabelEfficiencyResult) -> None:
    record = as_record(result)
    text = json.dumps(record, allow_nan=False)
    assert text == json.dumps(as_record(assess_runs(simulate_runs(lesions=800))), allow_nan=False)
    assert record["answers"][0]["enough"]["share"] == "beyond"
    values = as_metrics(result)
    assert values["vae/crossing"] == pytest.approx(CROSSING, rel=0.25) and "vae/enough" not in values
    assert values["imagenet/1/macro_auroc"] > 0.7 and np.isfinite(list(values.values())).all()
