"""Evidence and gates: numbers by plain counting, verdicts by hand, and flips in the order of harm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score
from sklearn.metrics import log_loss as sklearn_log_loss

from components.deployment.bundle import open_bundle
from components.deployment.change_page import (
    ABSTAINS,
    CLASS,
    CLEARED,
    FALSE_ALARM,
    FOUND,
    MISSED,
    ORDER,
    Change,
    Side,
    flips,
    render,
)
from components.deployment.decisions import decide
from components.deployment.evidence import (
    ACCURACY,
    LOG_LOSS,
    SPECIFICITY,
    Evidence,
    Measure,
    calibrated,
    count_lesions,
    measure,
    sensitivity_of,
)
from components.deployment.gates import Outcome, conclude, judge
from components.deployment.manifest import Manifest
from components.deployment.settings import Promotion
from components.statistics.intervals import Interval
from components.statistics.resampled import resample
from tests.unit.training.small_trainings import CLASSES

SETTINGS = Promotion(
    approval="person", recommended=True, lesions=10, gap=0.3, accuracy=0.02, sensitivity=0.05, specificity=0.05,
    log_loss=0.05,
)  # fmt: skip
MALIGNANT = sensitivity_of(CLASSES[1])


@pytest.fixture(scope="module")
def manifest(bundle_folder: Path) -> Manifest:
    return open_bundle(bundle_folder).manifest


def draw(seed: int, right: float, lesions: int = 150) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, groups of two images, and probabilities that are right with a probability."""
    labels = np.repeat(np.arange(lesions) % 3, 2)
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(3), len(labels))
    told = np.where(rng.random(len(labels)) < right, labels, (labels + 1) % 3)
    p[np.arange(len(labels)), told] += 2
    return labels, np.repeat(np.arange(lesions).astype(str), 2), p / p.sum(1, keepdims=True)


def measured(manifest: Manifest, new: float, old: float | None) -> dict[str, Measure]:
    labels, groups, p = draw(1, new)
    drawn = resample(labels, groups, 200, 0.95, np.random.default_rng(0))
    return measure(drawn, (p, manifest), None if old is None else (draw(2, old)[2], manifest))


def test_measures_are_those_of_plain_counting(manifest: Manifest) -> None:
    labels, _, p = draw(1, 0.8)
    found = measured(manifest, 0.8, 0.7)
    answers = decide(p, manifest)
    assert found[ACCURACY].candidate.mean == pytest.approx(balanced_accuracy_score(labels, p.argmax(1)))
    expected = sklearn_log_loss(labels, calibrated(p, manifest))
    assert found[LOG_LOSS].candidate.mean == pytest.approx(expected)
    assert found[MALIGNANT].candidate.mean == pytest.approx(np.mean(answers.malignant[labels == 1]))
    assert found[SPECIFICITY].candidate.mean == pytest.approx(np.mean(~answers.malignant[labels != 1]))
    other = balanced_accuracy_score(labels, draw(2, 0.7)[2].argmax(1))
    difference = found[ACCURACY].difference
    assert difference.mean == pytest.approx(found[ACCURACY].candidate.mean - other)
    assert difference.low < difference.mean < difference.high


def test_the_log_loss_does_not_use_the_frequencies_of_a_clinic(manifest: Manifest) -> None:
    clinic = manifest.frequencies.model_copy(update={"clinic": dict(zip(CLASSES, (0.9, 0.05, 0.05), strict=True))})
    p = draw(1, 0.8)[2]
    moved = manifest.model_copy(update={"frequencies": clinic})
    np.testing.assert_array_equal(calibrated(p, moved), calibrated(p, manifest))
    assert not np.allclose(decide(p, moved).probabilities, calibrated(p, manifest))


def test_the_same_model_differs_from_itself_by_nothing(manifest: Manifest) -> None:
    labels, groups, p = draw(1, 0.8)
    drawn = resample(labels, groups, 100, 0.95, np.random.default_rng(0))
    found = measure(drawn, (p, manifest), (p, manifest))
    assert all(
        (each.difference.mean, each.difference.low, each.difference.high) == (0, 0, 0) for each in found.values()
    )


def test_lesions_are_counted_by_class() -> None:
    groups = np.array(["a", "a", "b", "c"])
    assert count_lesions(np.array([0, 0, 0, 1]), groups, CLASSES) == {CLASSES[0]: 2, CLASSES[1]: 1, CLASSES[2]: 0}


def evidence(measures: Mapping[str, Measure], **changes: object) -> Evidence:
    good = Evidence(
        measures=measures, lesions=dict.fromkeys(CLASSES, 50), left_out=0, gap=0.1, data_checks={"rows": True},
        recommended=True, recommendation="Best candidate.",
    )  # fmt: skip
    return replace(good, **changes)


def one(low: float, high: float) -> Measure:
    interval = Interval((low + high) / 2, low, high)
    return Measure(Interval(0.7, 0.6, 0.8), Interval(0.7, 0.6, 0.8), interval)


FAIR = {ACCURACY: one(-0.02, 0.1), LOG_LOSS: one(-0.1, 0.05), MALIGNANT: one(-0.05, 0.1), SPECIFICITY: one(-0.05, 0.1)}


def verdict(found: Evidence, settings: Promotion = SETTINGS) -> tuple[Outcome, list[str]]:
    gates = judge(found, settings, CLASSES)
    return conclude(gates), [gate.name for gate in gates if not gate.passed]


def test_ends_at_the_margins_pass() -> None:
    assert verdict(evidence(FAIR)) == (Outcome.PASSED, [])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({ACCURACY: one(-0.021, 0.2)}, ACCURACY),
        ({LOG_LOSS: one(-0.3, 0.051)}, LOG_LOSS),
        ({MALIGNANT: one(-0.051, 0.2)}, MALIGNANT),
        ({SPECIFICITY: one(-0.051, 0.2)}, SPECIFICITY),
        ({ACCURACY: one(-np.inf, np.inf)}, ACCURACY),
        ({LOG_LOSS: one(-np.inf, np.inf)}, LOG_LOSS),
    ],
)
def test_an_end_beyond_the_margin_fails_its_gate_alone(change: dict[str, Measure], name: str) -> None:
    assert verdict(evidence(FAIR | change)) == (Outcome.FAILED, [name])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"gap": 0.31}, "overfitting gap"),
        ({"gap": None}, "overfitting gap"),
        ({"data_checks": {}}, "data checks"),
        ({"data_checks": {"rows": True, "luma": False}}, "data checks"),
        ({"recommended": False}, "study's verdict"),
    ],
)
def test_each_other_gate_fails_alone(change: dict[str, object], name: str) -> None:
    assert verdict(evidence(FAIR, **change)) == (Outcome.FAILED, [name])
    if name == "study's verdict":
        assert verdict(evidence(FAIR, **change), SETTINGS.model_copy(update={"recommended": False}))[0] == "passed"


def test_below_the_least_number_of_lesions_nothing_is_decided() -> None:
    few = {CLASSES[0]: 50, CLASSES[1]: 9, CLASSES[2]: 10}
    worse = FAIR | {ACCURACY: one(-0.5, -0.4)}
    assert verdict(evidence(FAIR, lesions=few)) == (Outcome.UNDECIDED, ["test lesions of each class"])
    assert verdict(evidence(worse, lesions=few))[0] is Outcome.UNDECIDED
    assert Outcome.UNDECIDED.value == "too little to decide"


def test_a_first_model_must_be_better_than_chance(manifest: Manifest) -> None:
    assert verdict(evidence(measured(manifest, 0.9, None)))[0] is Outcome.PASSED
    assert verdict(evidence(measured(manifest, 1 / 3, None))) == (Outcome.FAILED, [ACCURACY])


def answers(rows: list[tuple[str, bool, bool]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["predicted", "malignant", "abstain"])
    return table.assign(p_malignant=0.25, malignant=table["malignant"].astype("boolean"))


def test_newly_missed_malignant_lesions_come_first_and_unchanged_ones_not_at_all(manifest: Manifest) -> None:
    benign, malignant, vascular = CLASSES
    images = pd.DataFrame(
        {"image_id": list("abcdefg"), "label": [benign, malignant, malignant, benign, benign, benign, malignant],
         "group": list("abcdefg")}
    )  # fmt: skip
    yes, no = (malignant, True, False), (benign, False, False)
    old = answers([no, no, yes, no, yes, no, yes])
    new = answers([(vascular, False, False), yes, no, yes, no, (benign, False, True), yes])
    sides = [Side(str(number), "0" * 64, manifest, each) for number, each in enumerate((old, new), 1)]
    found = flips(images, *sides)
    assert found["kind"].tolist() == [MISSED, FALSE_ALARM, ABSTAINS, CLASS, FOUND, CLEARED]
    assert found["image_id"].tolist() == list("cdfabe")
    assert found["old"][0] == f"{malignant}, malignant (p 0.250)"
    assert set(found["kind"]) < set(ORDER)
    gates = judge(evidence(FAIR), SETTINGS, CLASSES)
    html = render(Change(evidence(FAIR), gates, conclude(gates), images, sides[1], sides[0]))
    assert html.index(f'<th scope="row">{MISSED}</th>') < html.index(f'<th scope="row">{FALSE_ALARM}</th>')
    assert "dermflow promote --approve 2" in html
    first = render(Change(evidence(FAIR), gates, conclude(gates), images, sides[1], None))
    assert "May version 2 be the first in use?" in first
    assert 'id="flips"' not in first
