"""The record is strict JSON, with null for values that are not known."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from components.explanations.record import as_metrics, as_record
from components.statistics.intervals import Interval
from tests.unit.explanations.explained_runs import similarity, small_result


def test_the_record_is_strict_json_with_null_for_what_is_unknown() -> None:
    result = small_result()
    nothing = replace(similarity(0, 0), rank=Interval(np.nan, -np.inf, np.inf))
    unknown = replace(result, models=(replace(result.models[0], similarities=(nothing,)),))
    record = json.loads(json.dumps(as_record(unknown), allow_nan=False))
    model = record["models"]["vae-frozen"]
    assert model["likeness"]["everything"]["rank_correlation"] == {"mean": None, "low": None, "high": None}
    assert model["errors"][0]["missed"] is True
    assert model["neighbours"]["b"] == [{"image_id": "t1", "label": "nv", "distance": 0.25}]
    assert "likeness.everything" not in as_metrics(unknown)["vae-frozen"]
    assert as_metrics(result)["imagenet-frozen"]["likeness.everything"] == pytest.approx(0.05)
