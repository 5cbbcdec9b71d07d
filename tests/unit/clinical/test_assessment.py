"""The assessment of simulated arms of known skill."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from components.base.errors import DataError
from components.base.log import SilentLog
from components.clinical.assessment import HEADLINE, ClinicalAssessment, assess
from components.clinical.record import as_record
from components.report.formatting import interval_range, p_value, signed
from components.statistics.prior import Priors, change_prior
from components.statistics.runs import Run
from components.statistics.significance import holm
from tests.unit.clinical.simulated_assessment import SKILLS, TASK, assess_simulation, assess_six_models, render, words
from tests.unit.clinical.simulation import MALIGNANT, simulate


@pytest.fixture(scope="module")
def study() -> ClinicalAssessment:
    """Two arms, four seeds, three hundred test lesions."""
    return assess_simulation()


@pytest.fixture(scope="module")
def wide_study() -> ClinicalAssessment:
    """Four comparisons with the reference."""
    return assess_six_models()


def test_each_arm_is_assessed(study: ClinicalAssessment) -> None:
    assert [model.name for model in study.models] == ["vae-frozen", "imagenet-frozen"]
    vae, imagenet = study.models
    assert [each.subject for each in vae.operating] == ["malignant", *MALIGNANT]
    assert not imagenet.differences
    assert set(vae.differences) == set(HEADLINE) == set(vae.headline)


def test_the_more_skilful_arm_is_better_in_every_number(study: ClinicalAssessment) -> None:
    vae, imagenet = study.models
    assert vae.differences["malignant_auroc"].high < 0
    assert vae.differences["malignant_sensitivity"].high < 0
    assert vae.differences["brier"].low > 0
    assert vae.differences["risk_area"].low > 0
    assert vae.triage.cost.mean > imagenet.triage.cost.mean
    assert vae.sets[0].size.mean > imagenet.sets[0].size.mean
    assert vae.benefit.model[1].mean < imagenet.benefit.model[1].mean


def test_val_finds_the_temperature_by_which_the_arms_were_made_overconfident(study: ClinicalAssessment) -> None:
    for model in study.models:
        assert np.mean(model.calibration.temperatures) == pytest.approx(1.6, rel=0.15)
        assert model.calibration.after.log_loss.mean < model.calibration.before.log_loss.mean


def test_hard_subgroup_is_found_and_sets_keep_their_promise(study: ClinicalAssessment) -> None:
    imagenet = study.models[1]
    worst = imagenet.subgroups.worst("balanced_accuracy")
    assert (worst.attribute, worst.value) == ("site", "leg")
    assert worst.is_worse("balanced_accuracy")
    assert not any(sets.refuted for model in study.models for sets in model.sets)


def test_headline_is_scikit_learns_mean_over_seeds(study: ClinicalAssessment) -> None:
    runs, _, _ = simulate(SKILLS, lesions=300, seeds=4)
    areas = []
    for run in runs[:4]:
        test = run.predictions[run.predictions["split"] == "test"]
        areas.append(
            roc_auc_score(test["label"].isin(MALIGNANT), test[[f"p_{name}" for name in MALIGNANT]].sum(axis=1))
        )
    assert study.models[0].headline["malignant_auroc"].mean == pytest.approx(np.mean(areas))


def test_differences_are_corrected_over_all_comparisons_of_a_measure(wide_study: ClinicalAssessment) -> None:
    compared = [model for model in wide_study.models if model.differences]
    assert [model.name for model in compared] == ["vae-frozen", "random-frozen", "vae-full", "random-full"]
    for name in HEADLINE:
        tests = [model.tests[name] for model in compared]
        assert [each.holm for each in tests] == holm([each.p for each in tests])
    assert any(test.holm > test.p for model in compared for test in model.tests.values())
    assert not any(model.tests for model in wide_study.models if model.arm == "imagenet")


def test_a_difference_is_significant_exactly_where_its_interval_excludes_zero(wide_study: ClinicalAssessment) -> None:
    text = words(render(wide_study))
    for model in wide_study.models:
        for name, interval in model.differences.items():
            assert (model.tests[name].p < 0.05) == (interval.low > 0 or interval.high < 0)
            shown = f"{interval_range(interval, signed)} p {p_value(model.tests[name].holm)}"
            assert shown in text
    assert as_record(wide_study)["sheets"][0]["tests"]["brier"].keys() == {"p", "holm"}


def test_test_images_choose_nothing(study: ClinicalAssessment) -> None:
    """With other test labels every temperature and threshold is the same."""
    runs, _, _ = simulate(SKILLS, lesions=300, seeds=4)
    changed = []
    for run in runs:
        table = run.predictions.copy()
        test = table["split"] == "test"
        table.loc[test, "label"] = np.random.default_rng(0).permutation(table.loc[test, "label"])
        changed.append(replace(run, predictions=table))
    other = assess(changed, TASK, None, SilentLog())
    for mine, theirs in zip(study.models, other.models, strict=True):
        assert mine.calibration.temperatures == theirs.calibration.temperatures
        assert [p.thresholds for p in mine.operating[0].points] == [p.thresholds for p in theirs.operating[0].points]
        assert mine.selective.coverage.mean == theirs.selective.coverage.mean


def test_a_single_seed_has_the_variance_between_lesions_alone() -> None:
    runs, _, _ = simulate(SKILLS, lesions=200, seeds=1)
    model = assess(runs, TASK, None, SilentLog()).models[0]
    assert model.headline["malignant_auroc"].known
    assert not model.calibration.before.errors["width"].known


def test_a_table_of_other_images_is_refused() -> None:
    runs, _, _ = simulate(SKILLS, lesions=60, seeds=1)
    with pytest.raises(DataError, match=r"subgroups: 3 rows for .* test images"):
        assess(runs, TASK, pd.DataFrame({"sex": ["male"] * 3}), SilentLog())


def test_where_malignancy_and_severity_are_not_known_the_rest_is_assessed() -> None:
    found = assess_simulation(replace(TASK, malignant=None, severity=None), with_attributes=False)
    model = found.models[0]
    assert (model.operating, model.benefit, model.triage, model.subgroups) == ((), None, None, None)
    assert set(model.headline) == {"brier", "risk_area"}
    text = words(render(found))
    assert "Malignant or benign" not in text
    assert "for whom is the model worse" not in text
    assert "when the model may leave an image unanswered" in text


def test_a_model_trained_for_balanced_classes_is_calibrated_for_the_frequencies_of_train() -> None:
    """The simulated models are right for the frequencies of their images; balanced training is put on top of them."""
    runs, *_ = simulate(SKILLS, lesions=400, seeds=3)
    test = runs[0].predictions[runs[0].predictions["split"] == "test"]
    counts = test["label"].value_counts()
    frequencies = np.array([counts.get(name, 0) for name in TASK.question.classes], float) / len(test)
    uniform = np.full(len(frequencies), 1 / len(frequencies))
    balanced = [_with_prior(run, frequencies, uniform) for run in runs]
    task = replace(
        TASK, question=replace(TASK.question, seeds=(0, 1, 2)), priors=Priors(trained=uniform, frequencies=frequencies)
    )
    plain_task = replace(task, priors=Priors(frequencies, frequencies))
    found, expected = (assess(each, of, None, SilentLog()) for each, of in ((balanced, task), (runs, plain_task)))
    for ours, theirs in zip(found.models, expected.models, strict=True):
        after, right = ours.calibration.after, theirs.calibration.after
        assert after.log_loss.mean == pytest.approx(right.log_loss.mean, rel=1e-6)  # the same as if never balanced
        assert ours.benefit is not None and theirs.benefit is not None
        for own, other in zip(ours.benefit.model, theirs.benefit.model, strict=True):
            assert own.mean == pytest.approx(other.mean, abs=1e-9)
        assert after.log_loss.mean < ours.calibration.before.log_loss.mean - 0.05


def _with_prior(run: Run, old: np.ndarray, new: np.ndarray) -> Run:
    columns = [f"p_{name}" for name in TASK.question.classes]
    table = run.predictions.copy()
    table[columns] = change_prior(table[columns].to_numpy(float), old, new)
    return replace(run, predictions=table)


def test_fewer_seeds_than_min_seeds_have_no_p_value_and_the_page_says_so() -> None:
    runs, _, _ = simulate(SKILLS, lesions=60, seeds=2)
    task = replace(TASK, question=replace(TASK.question, seeds=(0, 1)))
    found = assess(runs, task, None, SilentLog())
    assert any(model.differences for model in found.models)
    assert not any(model.tests for model in found.models)
    assert "not decided: too few seeds" in render(found)
