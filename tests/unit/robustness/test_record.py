"""The record is JSON without NaN, the same for the same numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from components.robustness.analysis import RobustnessResult
from components.robustness.record import as_metrics, as_record
from tests.unit.robustness.simulated_runs import IMAGES, QUESTION, analyse_simulated, simulate


def test_the_record_is_json_and_the_same_twice(planted: RobustnessResult) -> None:
    again = analyse_simulated(*simulate())
    assert json.dumps(as_record(planted), allow_nan=False) == json.dumps(as_record(again), allow_nan=False)
    found = as_metrics(planted)
    assert {"vae-frozen/mean_drop", "imagenet-frozen/border", "vae-frozen/drop_noise"} <= set(found)
    assert np.isfinite(list(found.values())).all()


def test_the_record_holds_the_numbers_of_every_model(planted: RobustnessResult) -> None:
    record = as_record(planted)
    assert (record["images"], record["groups"], record["of_images"], record["seeds"]) == (240, 120, 300, 4)
    assert record["plan"]["kinds"] == ["blur", "noise"]
    vae, imagenet = record["sheets"]
    assert vae["kinds"][1]["points"][1]["strength"] == 3
    assert vae["kinds"][1]["versus"]["sure"] is True
    assert imagenet["versus"] is None
    assert imagenet["shortcuts"][2]["accuracy"]["p"] is None
    assert vae["clean"]["mean"] == pytest.approx(planted.models[0].drops.clean.mean, abs=1e-6)


def test_values_that_are_not_known_are_null() -> None:
    measured, runs = simulate(seeds=1)
    blind = replace(measured, lesion_found=np.zeros(IMAGES, bool))
    result = analyse_simulated(blind, runs, replace(QUESTION, seeds=(0,)))
    record = json.loads(json.dumps(as_record(result), allow_nan=False))
    assert record["sheets"][0]["shortcuts"][0]["accuracy"] is None
    assert "vae-frozen/border" not in as_metrics(result)
