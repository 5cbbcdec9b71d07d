"""Deployment: importance weights and Bayes' rule against closed forms and a study of the clinic itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.base.errors import DataError
from components.base.log import SilentLog
from components.clinical.assessment import assess, clinical_task
from components.clinical.deployment import REFERRED, assess_deployment, deployment_prior, reweight
from components.clinical.operating_points import BinaryTask, rates
from components.clinical.settings import Clinical
from components.data.labels import Labels
from components.statistics.prior import Priors
from components.statistics.weighting import weighted_mean
from tests.unit.clinical.simulated_assessment import QUESTION, SETTINGS, SKILLS, render, words
from tests.unit.clinical.simulation import CLASSES, SHARES, resampled, simulate

LABELS = Labels(scheme="seven", schemes={"seven": {name: (name,) for name in CLASSES}})
MALIGNANT = np.array([False, True])
GROUPS = 40
"""Lesions that the images of one simulated set belong to: their number is not the subject here."""


def _two_classes(images: int, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and probabilities that are right for the share of class 1: a score of two normal distributions."""
    labels = (rng.random(images) < share).astype(int)
    log_ratio = 1.5 * (1.5 * labels + rng.normal(size=images)) - 1.5**2 / 2
    odds = np.exp(log_ratio) * share / (1 - share)
    return labels, np.stack([1 / (1 + odds), odds / (1 + odds)], axis=1)


def _assess(labels: np.ndarray, p: np.ndarray, here: float, there: float) -> object:
    val_labels, val_p = _two_classes(4000, here, np.random.default_rng(9))
    task = BinaryTask("malignant", val_p[None, :, 1], val_labels == 1, p[None, :, 1], labels == 1)
    return assess_deployment(
        resampled(labels, np.arange(len(labels)) % GROUPS, resamples=20),
        task,
        [p],
        malignant=MALIGNANT,
        trained=np.array([1 - here, here]),
        deployed=np.array([1 - there, there]),
        levels=(0.9,),
        net_benefit_at=(0.05, 0.2),
        bins=10,
    )


def test_predictive_values_are_bayes_rule_at_the_share_of_the_clinic() -> None:
    labels, p = _two_classes(900, 0.3, np.random.default_rng(0))
    found = _assess(labels, p, 0.3, 0.02)
    for point, own in zip(found.deployed.points, found.study.points, strict=True):
        sensitivity, specificity = own.rates["sensitivity"].mean, own.rates["specificity"].mean
        called = 0.02 * sensitivity + 0.98 * (1 - specificity)
        assert point.rates["sensitivity"].mean == pytest.approx(sensitivity)
        assert point.rates["specificity"].mean == pytest.approx(specificity)
        assert point.rates[REFERRED].mean == pytest.approx(called)
        assert point.rates["ppv"].mean == pytest.approx(0.02 * sensitivity / called)
        assert point.rates["npv"].mean == pytest.approx(0.98 * specificity / (1 - called))
    assert found.deployed.malignant == pytest.approx(0.02)
    assert found.deployed.benefit.all[0] == pytest.approx(0.02 - 0.98 * 0.05 / 0.95)


def test_a_study_moved_to_a_clinic_agrees_with_a_study_of_the_clinic() -> None:
    rng = np.random.default_rng(1)
    moved = _assess(*_two_classes(20_000, 0.3, rng), 0.3, 0.1).deployed
    direct = _assess(*_two_classes(20_000, 0.1, rng), 0.1, 0.1).deployed
    assert moved.log_loss.mean == pytest.approx(direct.log_loss.mean, abs=0.01)
    assert moved.line.predicted.mean == pytest.approx(0.1, abs=0.005)
    assert moved.line.intercept.mean == pytest.approx(0, abs=0.08)
    assert moved.line.slope.mean == pytest.approx(1, abs=0.05)
    assert moved.calibration_error.mean < 0.01
    for own, other in zip(moved.benefit.model, direct.benefit.model, strict=True):
        assert own.mean == pytest.approx(other.mean, abs=0.004)


def test_the_same_frequencies_change_nothing() -> None:
    labels, p = _two_classes(400, 0.3, np.random.default_rng(2))
    share = labels.mean()
    found = _assess(labels, p, share, share)
    assert found.deployed.log_loss.mean == pytest.approx(found.study.log_loss.mean)
    assert found.deployed.line.intercept.mean == pytest.approx(found.study.line.intercept.mean)
    assert found.deployed.points[0].rates["ppv"].mean == pytest.approx(found.study.points[0].rates["ppv"].mean)


def test_every_resample_has_the_frequencies_of_the_clinic() -> None:
    rng = np.random.default_rng(3)
    labels, wanted = rng.choice(3, 300, p=[0.6, 0.3, 0.1]), np.array([0.9, 0.07, 0.03])
    sample = reweight(resampled(labels, np.arange(300) // 2), wanted)
    np.testing.assert_allclose(
        weighted_mean((np.arange(3)[:, None] == labels), sample.weights),
        wanted[:, None].repeat(sample.weights.shape[1], axis=1),
        rtol=1e-9,
    )
    called = rng.random((1, 300)) < 0.5
    by_class = [called[0, labels == k].mean() for k in range(3)]
    ppv = rates(called, labels == 2, sample.weights)["ppv"][0, 0]
    assert ppv == pytest.approx(0.03 * by_class[2] / np.dot(wanted, by_class))


def test_a_share_of_malignant_images_keeps_the_ratios_of_train_within_malignant_and_benign() -> None:
    found = deployment_prior(0.02, ("a", "b", "c", "d"), np.array([1, 1, 0, 0], bool), np.array([0.1, 0.3, 0.4, 0.2]))
    np.testing.assert_allclose(found, [0.005, 0.015, 0.98 * 2 / 3, 0.98 / 3])


def test_a_class_that_train_lacks_cannot_be_expected_in_the_clinic() -> None:
    with pytest.raises(DataError, match=r"clinical.deployment .*: no train image is b, expected train images"):
        deployment_prior({"a": 0.9, "b": 0.1}, ("a", "b"), MALIGNANT, np.array([1.0, 0.0]))
    with pytest.raises(DataError, match=r"clinical.deployment 0.02: no train image is malignant"):
        deployment_prior(0.02, ("a", "b"), MALIGNANT, np.array([1.0, 0.0]))


def _settings(deployment: object, **changes: object) -> Clinical:
    return Clinical(**(SETTINGS.model_dump() | {"deployment": deployment} | changes))


def test_words_of_the_deployment_are_classes_or_diagnoses() -> None:
    labels = Labels(scheme="two", schemes={"two": {"benign": ("nv", "bkl"), "malignant": ("mel", "bcc")}})
    found = _settings({"nv": 0.8, "bkl": 0.1, "malignant": 0.1}).deployment_of_classes(labels)
    assert found == pytest.approx({"benign": 0.9, "malignant": 0.1})
    assert _settings(0.02).deployment_of_classes(LABELS) == 0.02
    assert _settings(None).deployment_of_classes(LABELS) is None


@pytest.mark.parametrize(
    ("deployment", "changes", "message"),
    [
        (
            {"mel": 0.1, "naevus": 0.9},
            {},
            "clinical.deployment names 'naevus', expected classes of labels.scheme seven",
        ),
        (
            {"mel": 0.1, "nv": 0.9},
            {},
            "clinical.deployment gives no share to .*, expected a share above zero for every",
        ),
        ({"mel": 0.1, "nv": 0.8}, {}, "clinical.deployment .* sums to 0.9, expected 1"),
        ({"mel": 0.0, "nv": 1.0}, {}, "greater than 0"),
        (1.0, {}, "less than 1"),
        (0.0, {}, "greater than 0"),
        (0.02, {"malignant": None}, "clinical.deployment is 0.02, a share of malignant images, but clinical.malignant"),
    ],
)
def test_an_impossible_deployment_is_refused(deployment: object, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _settings(deployment, **changes).deployment_of_classes(LABELS)


def test_the_page_shows_both_places_and_the_assumption() -> None:
    runs, _, _ = simulate(SKILLS, lesions=120, seeds=2)
    shares = np.array(SHARES)
    task = clinical_task(
        replace(QUESTION, seeds=(0, 1), resamples=20), _settings(0.02), LABELS, Priors(shares, shares), 15
    )
    found = assess(runs, task, None, SilentLog())
    text = words(render(found))
    assert "images of a class look the same in both places" in text
    assert "clinic: 2.0 % malignant" in text
    for model in found.models:
        assert model.deployment is not None
        assert model.deployment.deployed.malignant == pytest.approx(0.02)
        first, there = model.operating[0].points[0], model.deployment.study.points[0]
        assert there.rates["ppv"] == first.test["ppv"]
        assert model.deployment.deployed.points[0].rates["ppv"].mean < first.test["ppv"].mean
    assert found.models[0].benefit == found.models[0].deployment.study.benefit
    without = words(render(assess(runs, replace(task, deployment=None), None, SilentLog())))
    assert "clinical.deployment (params.yaml) is null" in without
