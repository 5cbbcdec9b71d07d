"""The record and the tracked numbers are plain and finite."""

from __future__ import annotations

import json

import pytest

from components.external_validation.record import as_metrics, as_record
from components.external_validation.results import ExternalValidationResult


def test_record_and_metrics_are_plain_and_finite(result: ExternalValidationResult) -> None:
    record = as_record(result)
    json.dumps(record, allow_nan=False)
    assert record["labels"]["lacking"] == ["df", "vasc"]
    assert record["measures"]["log_loss"]["bounds"] == [0.0, None]
    metrics = as_metrics(result)
    drop = metrics["vae-frozen"]["balanced_accuracy"]["drop"]
    assert drop == pytest.approx(result.models[1].changes["balanced_accuracy"].drop.mean, abs=1e-6)
    json.dumps(metrics, allow_nan=False)
