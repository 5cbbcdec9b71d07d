"""The clinical figures show the numbers of the assessment, and the page shows numbers and figures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from components.base.log import SilentLog
from components.clinical.assessment import ClinicalAssessment, assess
from components.clinical.attributes import describe
from components.clinical.figures import draw_figures
from components.clinical.record import as_record
from components.report.formatting import interval_range, percent
from tests.unit.clinical.simulated_assessment import SETTINGS, SKILLS, TASK, assess_simulation, render, words
from tests.unit.clinical.simulation import simulate


@pytest.fixture(scope="module")
def study() -> ClinicalAssessment:
    """Two arms, four seeds, three hundred test lesions."""
    return assess_simulation()


def test_the_page_shows_what_was_found(study: ClinicalAssessment) -> None:
    text = words(render(study))
    for model in study.models:
        for interval in (model.operating[0].points[0].test["sensitivity"], model.sets[0].coverage):
            ends = interval_range(interval, percent)
            assert f"{percent(interval.mean)} % {ends}" in text
    assert "site: leg" in text
    assert "Fewer than 20 lesions" in text
    assert "ear" in text[text.index("Not reported") : text.index("Sizes of the subgroups")]
    assert "nan" not in text.lower().replace("-", " ").split()


def test_a_small_test_set_has_no_subgroup_results() -> None:
    runs, accepted, facts = simulate(SKILLS, lesions=30, seeds=2)
    names = sorted(accepted.loc[accepted["split"] == "test", "image_id"])
    found = assess(runs, TASK, describe(names, accepted, facts, SETTINGS.ages), SilentLog())
    assert found.models[0].subgroups.comparisons == 0
    text = words(render(found))
    assert "No subgroup has 20 lesions" in text
    assert "Significantly below" not in text
    json.dumps(as_record(found), allow_nan=False)


def test_no_number_of_a_suppressed_subgroup_is_on_the_page(study: ClinicalAssessment) -> None:
    few = [each for each in study.models[0].subgroups.subgroups if each.groups < 20]
    assert few
    text = words(render(study))
    table = text[text.index("Sizes of the subgroups") :]
    assert not any(f" {each.value} {each.images} {each.groups}" in table for each in few)


def test_every_figure_has_its_place_on_the_page(study: ClinicalAssessment) -> None:
    figures = draw_figures(study)
    text = render(study, figures)
    assert len(figures) == 6 + 2 * (1 + 3)
    for name in figures:
        assert text.count(f'aria-label="{name}"') == 1


def test_reliability_draws_observed_against_predicted(study: ClinicalAssessment) -> None:
    axes = draw_figures(study)["reliability-frozen"].axes[0]
    points = study.models[0].calibration.before.curve
    line = axes.lines[1]
    np.testing.assert_allclose(line.get_xdata(), [point.predicted for point in points])
    np.testing.assert_allclose(line.get_ydata(), [point.observed.mean for point in points])


def test_decision_curve_draws_all_and_treat_none(study: ClinicalAssessment) -> None:
    axes = draw_figures(study)["decision-frozen"].axes[0]
    treat_none, treat_all, vae = axes.lines[:3]
    assert list(treat_none.get_ydata()) == [0, 0]
    np.testing.assert_allclose(treat_all.get_ydata(), study.models[0].benefit.all)
    np.testing.assert_allclose(vae.get_ydata(), [each.mean for each in study.models[0].benefit.model])


def test_operating_points_are_drawn_at_their_rates(study: ClinicalAssessment) -> None:
    axes = draw_figures(study)["operating-frozen"].axes[0]
    dots = [(*line.get_xdata(), *line.get_ydata()) for line in axes.lines if line.get_marker() == "o"]
    rates = [model.operating[0].points[0].test for model in study.models]
    for each in rates:
        assert any(dot == pytest.approx((1 - each["specificity"].mean, each["sensitivity"].mean)) for dot in dots)


def test_risk_is_drawn_against_coverage_with_vals_threshold(study: ClinicalAssessment) -> None:
    axes = draw_figures(study)["coverage-frozen"].axes[0]
    diamonds = [(*line.get_xdata(), *line.get_ydata()) for line in axes.lines if line.get_marker() == "D"]
    assert diamonds == [(model.selective.coverage.mean, model.selective.risk.mean) for model in study.models]


def test_subgroups_are_filled_where_they_differ_significantly(study: ClinicalAssessment) -> None:
    axes = draw_figures(study)["subgroups-balanced_accuracy-imagenet-frozen"].axes[0]
    shown = [each for each in study.models[1].subgroups.subgroups if "balanced_accuracy" in each.differences]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert len(dots) == len(shown)
    for dot, each in zip(dots, shown, strict=True):
        interval, seeds = each.differences["balanced_accuracy"], each.by_seed["balanced_accuracy"]
        assert dot.get_xdata()[0] == pytest.approx(100 * interval.mean) == pytest.approx(100 * np.mean(seeds))
        significant = max(interval.high, *seeds) < 0 or min(interval.low, *seeds) > 0
        assert (dot.get_markerfacecolor() != "#ffffff") == significant
