"""The section as a whole: simulated arms of known skill, and the page that shows them."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from components.base.errors import DataError, SettingsError
from components.base.log import SilentLog
from components.clinical import assessment, subgroups
from components.clinical.assessment import Clinical, ClinicalPlan, assess
from components.clinical.figures import draw_figures
from components.comparison import page as report_module
from components.report import page
from components.report.figures import arm_colours
from components.report.formatting import p_value
from components.statistics.significance import holm
from tests.unit.clinical.simulation import CLASSES, COSTS, MALIGNANT, SEVERITY, simulate

SKILLS = {"vae": 1.2, "imagenet": 2.4}
PLAN = ClinicalPlan(
    arms=tuple(SKILLS), reference="imagenet", classes=CLASSES, malignant=MALIGNANT, severity=SEVERITY, costs=COSTS,
    levels=(0.9, 0.95), thresholds=(0.05, 0.1, 0.2, 0.3), answered=0.8, miss=0.1, bins=15, ages=(40, 60),
    least_groups=20, confidence=0.95, resamples=100, seed=0,
)  # fmt: skip


def _study(plan: ClinicalPlan = PLAN, with_table: bool = True) -> Clinical:
    runs, accepted, facts = simulate(SKILLS, lesions=300, seeds=4)
    names = sorted(accepted.loc[accepted["split"] == "test", "image_id"])
    table = subgroups.describe(names, accepted, facts, plan.ages) if with_table else None
    return assess(runs, plan, table, SilentLog())


@pytest.fixture(scope="module")
def study() -> Clinical:
    """Two arms, four seeds, three hundred test lesions."""
    return _study()


def test_each_arm_has_its_sheet(study: Clinical) -> None:
    assert [sheet.name for sheet in study.sheets] == ["vae-frozen", "imagenet-frozen"]
    vae, imagenet = study.sheets
    assert [each.subject for each in vae.operating] == ["malignant", *MALIGNANT]
    assert not imagenet.differences
    assert set(vae.differences) == set(assessment.HEADLINE) == set(vae.headline)


def test_the_more_skilful_arm_is_better_in_every_number(study: Clinical) -> None:
    vae, imagenet = study.sheets
    assert vae.differences["malignant_auroc"].high < 0
    assert vae.differences["malignant_sensitivity"].high < 0
    assert vae.differences["brier"].low > 0
    assert vae.differences["risk_area"].low > 0
    assert vae.triage.cost.mean > imagenet.triage.cost.mean
    assert vae.sets[0].size.mean > imagenet.sets[0].size.mean
    assert vae.benefit.model[1].mean < imagenet.benefit.model[1].mean


def test_val_finds_the_temperature_by_which_the_arms_were_made_too_sure(study: Clinical) -> None:
    for sheet in study.sheets:
        assert np.mean(sheet.calibration.temperatures) == pytest.approx(1.6, rel=0.15)
        assert sheet.calibration.after.log_loss.mean < sheet.calibration.before.log_loss.mean


def test_hard_subgroup_is_found_and_sets_keep_their_promise(study: Clinical) -> None:
    imagenet = study.sheets[1]
    worst = imagenet.subgroups.worst("balanced_accuracy")
    assert (worst.attribute, worst.value) == ("site", "leg")
    assert worst.worse("balanced_accuracy")
    assert all(sets.kept for sheet in study.sheets for sets in sheet.sets)


def test_headline_is_scikit_learns_mean_over_seeds(study: Clinical) -> None:
    runs, _, _ = simulate(SKILLS, lesions=300, seeds=4)
    areas = []
    for run in runs[:4]:
        test = run.predictions[run.predictions["split"] == "test"]
        areas.append(
            roc_auc_score(test["label"].isin(MALIGNANT), test[[f"p_{name}" for name in MALIGNANT]].sum(axis=1))
        )
    assert study.sheets[0].headline["malignant_auroc"].mean == pytest.approx(np.mean(areas))


@pytest.fixture(scope="module")
def wide_study() -> Clinical:
    """Three arms, two protocols: four comparisons with the reference."""
    skills = {"vae": 2.2, "random": 2.4, "imagenet": 2.4}
    runs, _, _ = simulate(skills, lesions=150, seeds=2, protocols=("frozen", "full"))
    return assess(runs, replace(PLAN, arms=tuple(skills)), None, SilentLog())


def test_differences_are_corrected_over_all_comparisons_of_a_measure(wide_study: Clinical) -> None:
    compared = [sheet for sheet in wide_study.sheets if sheet.differences]
    assert [sheet.name for sheet in compared] == ["vae-frozen", "random-frozen", "vae-full", "random-full"]
    for name in assessment.HEADLINE:
        tests = [sheet.tests[name] for sheet in compared]
        assert [each.holm for each in tests] == holm([each.p for each in tests])
    assert any(test.holm > test.p for sheet in compared for test in sheet.tests.values())
    assert not any(sheet.tests for sheet in wide_study.sheets if sheet.arm == "imagenet")


def test_a_difference_is_sure_exactly_where_its_interval_leaves_zero_out(wide_study: Clinical) -> None:
    for sheet in wide_study.sheets:
        for name, interval in sheet.differences.items():
            assert (sheet.tests[name].p < 0.05) == (interval.low > 0 or interval.high < 0)
            shown = (
                f"{report_module.interval_range(interval, report_module.signed)} p {p_value(sheet.tests[name].holm)}"
            )
            assert shown in _words(_render(wide_study, {}))
    assert assessment.as_record(wide_study)["sheets"][0]["tests"]["brier"].keys() == {"p", "holm"}


def test_test_images_choose_nothing(study: Clinical) -> None:
    """With other test labels every temperature and threshold is the same."""
    runs, _, _ = simulate(SKILLS, lesions=300, seeds=4)
    changed = []
    for run in runs:
        table = run.predictions.copy()
        test = table["split"] == "test"
        table.loc[test, "label"] = np.random.default_rng(0).permutation(table.loc[test, "label"])
        changed.append(replace(run, predictions=table))
    other = assess(changed, PLAN, None, SilentLog())
    for mine, theirs in zip(study.sheets, other.sheets, strict=True):
        assert mine.calibration.temperatures == theirs.calibration.temperatures
        assert [p.thresholds for p in mine.operating[0].points] == [p.thresholds for p in theirs.operating[0].points]
        assert mine.selective.coverage.mean == theirs.selective.coverage.mean


def test_the_same_runs_give_the_same_record(study: Clinical) -> None:
    text = json.dumps(assessment.as_record(study), allow_nan=False)
    assert text == json.dumps(assessment.as_record(_study()), allow_nan=False)


def test_metrics_to_follow_are_finite_and_named_by_run(study: Clinical) -> None:
    found = assessment.as_metrics(study)
    assert set(found) == {
        f"{name}-frozen/{key}"
        for name in SKILLS
        for key in (*assessment.HEADLINE, "ece_debiased", "conformal_coverage")
    }
    assert np.isfinite(list(found.values())).all()


def test_where_malignancy_and_severity_are_not_known_the_rest_stands() -> None:
    found = _study(replace(PLAN, malignant=None, severity=None, costs=None), with_table=False)
    sheet = found.sheets[0]
    assert (sheet.operating, sheet.benefit, sheet.triage, sheet.subgroups) == ((), None, None, None)
    assert set(sheet.headline) == {"brier", "risk_area"}
    words = _words(_render(found))
    assert "Malignant or benign" not in words
    assert "Who is it worse for" not in words
    assert "When it may say" in words


def test_a_single_seed_has_the_lesions_luck_alone() -> None:
    runs, _, _ = simulate(SKILLS, lesions=200, seeds=1)
    sheet = assess(runs, PLAN, None, SilentLog()).sheets[0]
    assert sheet.headline["malignant_auroc"].known
    assert not sheet.calibration.before.errors["debiased"].known


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"malignant": ("melanoma",)}, "labels.malignant = .'melanoma'.*expected some, not all.*akiec"),
        ({"malignant": CLASSES}, "expected some, not all"),
        ({"malignant": ()}, "expected some, not all"),
        ({"severity": {"routine": ("nv",), "urgent": ("mel",)}}, "clinical.severity names.*each of.*once"),
        ({"costs": ((0.0, 1.0), (1.0, 0.0))}, "clinical.costs.*expected 3 rows.*3 costs"),
        ({"costs": ((0.0, 1.0, 1.0), (1.0, 0.5, 1.0), (1.0, 1.0, 0.0))}, "with 0 where both agree"),
        ({"costs": ((0.0, 1.0, 1.0), (-1.0, 0.0, 1.0), (1.0, 1.0, 0.0))}, "none below 0"),
    ],
)
def test_settings_that_cannot_be_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        replace(PLAN, **changes)


def test_a_table_of_other_images_is_refused() -> None:
    runs, _, _ = simulate(SKILLS, lesions=60, seeds=1)
    with pytest.raises(DataError, match=r"subgroups: 3 rows for .* test images"):
        assess(runs, PLAN, pd.DataFrame({"sex": ["male"] * 3}), SilentLog())


# --- figures and page


def _render(found: Clinical, figures: dict[str, Figure] | None = None) -> str:
    drawn = draw_figures(found) if figures is None else figures
    filters = {name: getattr(report_module, name) for name in ("percent", "number", "interval_range", "points")}
    filters["p"] = p_value
    context = {
        "clinical": found,
        "figures": {name: page.inline_svg(figure, name, name) for name, figure in drawn.items()},
        "colours": arm_colours(found.plan.arms),
        "protocols": {"frozen": "encoder frozen"},
        "headline_names": assessment.HEADLINE,
        "measures": subgroups.MEASURES,
        "few": 10,
        "percent_form": report_module.percent,
        "points_form": report_module.points,
        "signed_form": report_module.signed,
    }
    parts = [page.render(f"clinical/{name}.html.j2", filters, **context) for name in ("section", "subgroups")]
    frame = page.render("report/page.html.j2", {})
    return frame.replace("<body>", "<body><main>" + "".join(parts) + "</main>")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def _words(text: str) -> str:
    reader = _Reader()
    reader.feed(text)
    assert reader.open == []  # every tag is closed
    return re.sub(r"\s+", " ", reader.words)


def test_the_page_says_what_was_found(study: Clinical) -> None:
    words = _words(_render(study))
    for sheet in study.sheets:
        for interval in (sheet.operating[0].points[0].test["sensitivity"], sheet.sets[0].coverage):
            ends = report_module.interval_range(interval, report_module.percent)
            assert f"{report_module.percent(interval.mean)} % {ends}" in words
    assert "site: leg" in words
    assert "Fewer than 20 lesions" in words
    assert "ear" in words[words.index("Too few to say") : words.index("How many they are")]
    assert "nan" not in words.lower().replace("-", " ").split()


def test_of_a_small_test_set_nothing_is_said_by_subgroup() -> None:
    runs, accepted, facts = simulate(SKILLS, lesions=30, seeds=2)
    names = sorted(accepted.loc[accepted["split"] == "test", "image_id"])
    found = assess(runs, PLAN, subgroups.describe(names, accepted, facts, PLAN.ages), SilentLog())
    assert found.sheets[0].subgroups.comparisons == 0
    words = _words(_render(found))
    assert "No subgroup has 20 lesions" in words
    assert "Surely below" not in words
    json.dumps(assessment.as_record(found), allow_nan=False)


def test_no_number_of_a_suppressed_subgroup_is_on_the_page(study: Clinical) -> None:
    few = [each for each in study.sheets[0].subgroups.subgroups if each.groups < 20]
    assert few
    words = _words(_render(study))
    table = words[words.index("How many they are") :]
    assert not any(f" {each.value} {each.images} {each.groups}" in table for each in few)


def test_every_figure_has_its_place_on_the_page(study: Clinical) -> None:
    figures = draw_figures(study)
    text = _render(study, figures)
    assert len(figures) == 6 + 2 * (1 + 3)
    for name in figures:
        assert text.count(f'aria-label="{name}"') == 1


def test_reliability_draws_what_happened_at_what_was_said(study: Clinical) -> None:
    axes = draw_figures(study)["reliability-frozen"].axes[0]
    points = study.sheets[0].calibration.before.curve
    line = axes.lines[1]
    np.testing.assert_allclose(line.get_xdata(), [point.said for point in points])
    np.testing.assert_allclose(line.get_ydata(), [point.happened.mean for point in points])


def test_decision_curve_draws_all_and_nobody(study: Clinical) -> None:
    axes = draw_figures(study)["decision-frozen"].axes[0]
    nobody, everybody, vae = axes.lines[:3]
    assert list(nobody.get_ydata()) == [0, 0]
    np.testing.assert_allclose(everybody.get_ydata(), study.sheets[0].benefit.all)
    np.testing.assert_allclose(vae.get_ydata(), [each.mean for each in study.sheets[0].benefit.model])


def test_operating_points_stand_at_their_rates(study: Clinical) -> None:
    axes = draw_figures(study)["operating-frozen"].axes[0]
    dots = [(*line.get_xdata(), *line.get_ydata()) for line in axes.lines if line.get_marker() == "o"]
    rates = [sheet.operating[0].points[0].test for sheet in study.sheets]
    for each in rates:
        assert any(dot == pytest.approx((1 - each["specificity"].mean, each["sensitivity"].mean)) for dot in dots)


def test_risk_is_drawn_against_coverage_with_vals_threshold(study: Clinical) -> None:
    axes = draw_figures(study)["coverage-frozen"].axes[0]
    diamonds = [(*line.get_xdata(), *line.get_ydata()) for line in axes.lines if line.get_marker() == "D"]
    assert diamonds == [(sheet.selective.coverage.mean, sheet.selective.risk.mean) for sheet in study.sheets]


def test_subgroups_are_filled_where_they_surely_differ(study: Clinical) -> None:
    axes = draw_figures(study)["subgroups-balanced_accuracy-imagenet-frozen"].axes[0]
    shown = [each for each in study.sheets[1].subgroups.subgroups if "balanced_accuracy" in each.differences]
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert len(dots) == len(shown)
    for dot, each in zip(dots, shown, strict=True):
        interval, seeds = each.differences["balanced_accuracy"], each.by_seed["balanced_accuracy"]
        assert dot.get_xdata()[0] == pytest.approx(100 * interval.mean) == pytest.approx(100 * np.mean(seeds))
        sure = max(interval.high, *seeds) < 0 or min(interval.low, *seeds) > 0
        assert (dot.get_markerfacecolor() != "#ffffff") == sure
