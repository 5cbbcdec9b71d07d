"""Learning curves over lesions: planted curves are found again, and what is not known is not claimed."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import isotonic_regression
from scipy.stats import norm
from scipy.stats import t as student

from benchmarks import crossing as crossing_study
from components.base.errors import DataError
from components.base.run_id import FinetuneProtocol, RunId
from components.label_efficiency import figure
from components.label_efficiency.analysis import (
    Efficiency,
    EfficiencyPlan,
    Outcome,
    as_metrics,
    as_record,
    assess,
    draw_curves,
    draw_luck,
    locate,
    rising,
    root,
)
from components.label_efficiency.page import crossing, draw_figures, enough, render, summary
from components.statistics import intervals
from components.statistics.resampled import resample
from components.statistics.runs import FINGERPRINTS, Run

SHARES = np.array([0.125, 0.25, 0.5, 1.0])
LESIONS = (100, 200, 400, 800)
PLAN = EfficiencyPlan(
    study="planted", protocol="frozen", arms=("vae", "imagenet"), reference="imagenet", classes=("benign", "malignant"),
    shares=tuple(SHARES), seeds=(0, 1, 2), budget="steps", confidence=0.95, min_seeds=3, resamples=200, seed=0,
    synthetic=False,
)  # fmt: skip
CROSSING = 0.35


def _line(at_crossing: float, slope: float) -> np.ndarray:
    """Accuracy at each share, straight in log2(share)."""
    return at_crossing + slope * np.log2(SHARES / CROSSING)


TRUTH = {"vae": _line(0.7, 0.02), "imagenet": _line(0.7, 0.08)}
"""The VAE is ahead with fewer than 35 % of the lesions: 0.67 to 0.73 against 0.58 to 0.82."""


def _says(truth: np.ndarray, common: np.ndarray, spread: float, rng: np.random.Generator) -> np.ndarray:
    """Which test lesions each share's model gets right (P, N); half of what makes one hard is `common` to all."""
    own = np.sqrt(0.5) * common + np.sqrt(0.5) * rng.normal(size=(len(truth), len(common)))
    return norm.cdf(own) < (truth + spread * rng.normal(size=len(truth)))[:, None]


def _study(
    truth: dict[str, np.ndarray] = TRUTH, plan: EfficiencyPlan = PLAN, lesions: int = 400, spread: float = 0.005
) -> list[Run]:
    """A run for each arm, seed and share; each class's lesions are equally hard."""
    rng = np.random.default_rng(1)
    common, labels = rng.normal(size=lesions), np.arange(lesions) % 2
    names = [f"{place:04d}" for place in range(lesions)]
    table = pd.DataFrame({"image_id": names, "group": names, "split": "test", "label": np.array(plan.classes)[labels]})
    runs = []
    for arm in plan.arms:
        for seed in plan.seeds:
            for share, right in zip(plan.shares, _says(truth[arm], common, spread, rng), strict=True):
                said = np.where(right, labels, 1 - labels)
                own = table.assign(p_benign=0.8 - 0.6 * said, p_malignant=0.2 + 0.6 * said)
                size = {"lesions": round(800 * share), "all_lesions": 800} if share < 1 else {}
                prints = {name: f"{name} {seed} {share}" for name in FINGERPRINTS}
                runs.append(Run(RunId(arm, FinetuneProtocol.FROZEN, seed, share), own, summary={**size, **prints}))
    return runs


@pytest.fixture(scope="module")
def found() -> Efficiency:
    return assess(_study(lesions=800), PLAN)


def _columns(rows: list[float]) -> np.ndarray:
    return np.array(rows, float)[:, None]


def test_the_root_of_a_line_is_its_closed_form() -> None:
    values = np.stack([0.06 * np.log2(SHARES / at) for at in (0.2, 0.35, 0.25, 0.9)], axis=1)
    np.testing.assert_allclose(root(SHARES, values, strict=True), [0.2, 0.35, 0.25, 0.9])


def test_a_root_outside_the_range_is_said_to_be_there() -> None:
    assert root(SHARES, _columns([1, 2, 3, 4]), strict=True) == -np.inf
    assert root(SHARES, _columns([-4, -3, -2, -1]), strict=True) == np.inf
    assert root(SHARES, _columns([1, 2, -1, -1]), strict=True) == np.inf  # it ends below


def test_of_several_crossings_the_last_counts() -> None:
    assert root(SHARES, _columns([-1, 1, -1, 1]), strict=True) == pytest.approx(2**-0.5)


@pytest.mark.parametrize(
    ("differences", "outcome"),
    [
        ([10, 10, 10, 10], Outcome.BELOW),
        ([10, 6, 3, 0.2], Outcome.OPEN),  # an advantage that ends with all lesions: behind in half of the draws
        ([15, 8, 3, 0], Outcome.OPEN),  # a tie
        ([-6, -3, 3, 9], Outcome.WITHIN),
    ],
)
def test_an_advantage_that_shrinks_to_nothing_is_no_missing_crossing(differences: list, outcome: Outcome) -> None:
    mean = np.array(differences, float)
    draws = mean[:, None] + 1.5 * np.random.default_rng(0).normal(size=(4, 2000))
    assert locate(SHARES, mean, draws, 0.95, True, strict=True).outcome is outcome


def test_zero_reaches_but_does_not_lead() -> None:
    assert root(SHARES, _columns([-3, -2, -1, 0]), strict=False) == 1.0
    assert root(SHARES, _columns([-3, -2, -1, 0]), strict=True) == np.inf
    assert root(SHARES, _columns([0, 0, 0, 0]), strict=False) == -np.inf


def test_the_root_is_that_of_a_naive_loop() -> None:
    values = np.random.default_rng(0).normal(size=(4, 300))
    for place, mine in enumerate(root(SHARES, values, strict=True)):
        own, theirs = values[:, place], -np.inf
        for at in range(3):
            if own[at] <= 0 < own[at + 1]:
                theirs = 2 ** np.interp(0, own[at : at + 2], np.log2(SHARES[at : at + 2]))
        assert mine == pytest.approx(theirs if own[-1] > 0 else np.inf)


def test_the_nearest_rising_curve_is_scipys() -> None:
    values = np.random.default_rng(0).normal(size=(5, 50))
    theirs = np.stack([isotonic_regression(column).x for column in values.T], axis=1)
    np.testing.assert_allclose(rising(values), theirs)


def test_planted_crossing_and_saving_are_found(found: Efficiency) -> None:
    (one,) = (each for each in found.answers if each.metric == "balanced_accuracy")
    assert not one.ahead and one.turns == 1
    assert one.crossing.outcome is Outcome.WITHIN
    assert one.crossing.low < CROSSING < one.crossing.high
    assert one.crossing.share == pytest.approx(CROSSING, rel=0.25)
    assert one.enough.outcome is Outcome.BEYOND and one.enough.beyond == 1  # it ends nine points lower
    other = assess(_study(), replace(PLAN, reference="vae")).answers[0]
    reached = 2 ** (np.log2(CROSSING) + (TRUTH["vae"][-1] - 0.7) / 0.08)
    assert other.enough.low < reached < other.enough.high
    assert other.ahead and other.crossing.outcome is Outcome.WITHIN


def test_scores_and_differences_are_means_over_seeds(found: Efficiency) -> None:
    runs = [run for run in _study(lesions=800) if run.id.share == 0.25]
    right = {arm: [] for arm in PLAN.arms}
    for run in runs:
        table = run.predictions
        right[run.arm].append(((table["p_malignant"] > 0.5) == (table["label"] == "malignant")).mean())
    points = {point.arm: point for point in found.points if point.share == 0.25}
    for arm, values in right.items():
        assert points[arm].scores["balanced_accuracy"].mean == pytest.approx(np.mean(values))
        assert points[arm].lesions == 200
    apart = points["vae"].differences["balanced_accuracy"]
    assert apart.mean == pytest.approx(np.mean(right["vae"]) - np.mean(right["imagenet"]))
    assert apart.low < apart.mean < apart.high and not points["imagenet"].differences
    assert len(found.points) == 8 and found.train_lesions == 800 and found.test_lesions == 800


def test_an_arm_that_is_behind_everywhere_does_not_cross() -> None:
    one = assess(_study({"vae": TRUTH["vae"] - 0.2, "imagenet": TRUTH["vae"]}), PLAN).answers[0]
    assert one.crossing.outcome is Outcome.BELOW and one.crossing.outside > 0.97 and not one.ahead
    assert one.enough.outcome is Outcome.BEYOND


def test_equal_arms_are_not_decided() -> None:
    runs = _study({"vae": TRUTH["vae"], "imagenet": TRUTH["vae"]})
    assert assess(runs, PLAN).answers[0].crossing.outcome is Outcome.OPEN
    copies = [
        replace(run, predictions=twin.predictions) for run, twin in zip(runs, [*runs[12:], *runs[12:]], strict=True)
    ]
    twins = assess(copies, PLAN)
    assert twins.answers[0].crossing.outcome is Outcome.OPEN
    assert "vae and imagenet are equal with all 800 train lesions" in crossing(twins.answers[0], twins)


def test_two_seeds_decide_nothing() -> None:
    plan = replace(PLAN, seeds=(0, 1))
    found = assess(_study(plan=plan), plan)
    assert {each.crossing.outcome for each in found.answers} == {Outcome.TOO_FEW_SEEDS}
    assert all("2 seeds, compare.min_seeds asks for 3" in line for line in summary(found))


def test_a_single_seed_has_the_lesions_luck_alone() -> None:
    plan = replace(PLAN, seeds=(0,))
    found = assess(_study(plan=plan), plan)
    assert np.isfinite(found.points[0].scores["balanced_accuracy"].low)
    json.dumps(as_record(found), allow_nan=False)


def test_draws_of_the_seeds_are_students_t() -> None:
    """With every lesion as sure as another, three seeds' mean has Student's interval at each share."""
    rng = np.random.default_rng(0)
    test = resample(np.arange(40) % 2, np.arange(40), 40_000, 0.95, rng)
    values = rng.normal(size=(3, 2))
    by_seed = np.repeat(values[:, :, None], test.weights.shape[1], axis=2)
    mean, draws = draw_curves(by_seed, test, draw_luck(3, 40_000, rng))
    np.testing.assert_allclose(mean, values.mean(0))
    reach = student.ppf(0.975, 2) * values.std(0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(np.quantile(draws, 0.975, axis=1) - mean, reach, rtol=0.05)
    correlated = np.corrcoef(draws)[0, 1] * np.corrcoef(values.T)[0, 1]
    assert correlated > 0  # shares keep the seeds' correlation


def test_places_lie_on_the_shares_that_were_reached() -> None:
    """Classes keep two lesions, so little parts hold more than was asked: the crossing moves with them."""
    runs, more = _study(), []
    for run in runs:
        size = {"lesions": 150} if run.id.share == 0.125 else {"lesions": 300} if run.id.share == 0.25 else {}
        more.append(replace(run, summary={**run.summary, **size}))
    asked, reached = (assess(each, PLAN) for each in (runs, more))
    assert reached.lesions == (150, 300, 400, 800)
    first, second = (each.answers[0].crossing.share for each in (asked, reached))
    assert 0.25 < first < 0.5
    assert second == pytest.approx(2 ** np.interp(np.log2(first), np.log2([0.25, 0.5]), np.log2([0.375, 0.5])))


def test_numbers_of_lesions_that_would_touch_are_left_out() -> None:
    interval = intervals.Interval(0.5, 0.4, 0.6)
    axes = figure.draw((14, 15, 48), {"vae": [interval] * 3}, "accuracy", {"vae": "#000000"}).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["48", "15"]


def test_open_ends_are_kept_open() -> None:
    """Three of ten draws end on the other side: the interval has no upper end, and nothing is decided."""
    draws = np.stack([0.06 * np.log2(SHARES / at) for at in np.linspace(0.3, 1.4, 200)], axis=1)
    place = locate(SHARES, 0.06 * np.log2(SHARES / 0.8), draws, 0.95, True, strict=True)
    assert place.share == pytest.approx(0.8) and place.high == np.inf and 0.3 <= place.low < 0.35
    assert place.beyond == pytest.approx(0.36, abs=0.02) and place.below == 0 and place.outcome is Outcome.OPEN


def test_intervals_of_the_crossing_hold_what_they_promise() -> None:
    """The slim form of `python -m benchmarks.crossing`, whose full table stands in docs/deciding.md."""
    found = crossing_study.simulate(crossing_study.World("slim", 100, 3, 0.02), repeats=120, resamples=200)
    assert found["crossing"] >= 0.9 and found["enough"] >= 0.9


@pytest.mark.parametrize(("slope", "meet"), [(crossing_study.GAIN, crossing_study.CROSSING), (-0.02, 1.0)])
def test_of_arms_that_end_equal_next_to_nothing_is_claimed(slope: float, meet: float) -> None:
    world = crossing_study.World("equal", 100, 3, 0.02, slope=slope, meet=meet)
    assert crossing_study.simulate(world, repeats=100, resamples=200)["claimed"] <= 0.06


def test_arms_that_learned_from_other_lesions_are_refused() -> None:
    runs = _study()
    runs[1] = replace(runs[1], summary={**runs[1].summary, "train_index_sha256": "another"})
    with pytest.raises(DataError, match=r"vae-frozen-0-0.25 and imagenet-frozen-0-0.25 differ in train_index_sha256"):
        assess(runs, PLAN)


def test_a_missing_point_is_named() -> None:
    with pytest.raises(DataError, match=r"no predictions of vae-frozen-0 with share 0.125 .*label_efficiency.seeds"):
        assess(_study()[1:], PLAN)


def test_points_of_several_data_sets_are_refused() -> None:
    runs = _study()
    runs[1] = replace(runs[1], summary={**runs[1].summary, "all_lesions": 900})
    with pytest.raises(DataError, match=r"tell of \[800, 900\] train lesions in all.*dvc repro -f learn"):
        assess(runs, PLAN)


def test_record_and_metrics_are_plain_and_the_same_each_time(found: Efficiency) -> None:
    record = as_record(found)
    text = json.dumps(record, allow_nan=False)
    assert text == json.dumps(as_record(assess(_study(lesions=800), PLAN)), allow_nan=False)
    assert record["answers"][0]["enough"]["share"] == "beyond"
    values = as_metrics(found)
    assert values["vae/crossing"] == pytest.approx(CROSSING, rel=0.25) and "vae/enough" not in values
    assert values["imagenet/1/macro_auroc"] > 0.7 and np.isfinite(list(values.values())).all()


def test_the_words_are_the_numbers(found: Efficiency) -> None:
    first, second = summary(found)
    place = found.answers[0].crossing
    assert first.startswith("vae is behind imagenet with more than about ")
    assert f"{round(800 * place.share)} train lesions, and ahead of it with fewer" in first
    assert f"{round(800 * place.low)} to {round(800 * place.high)} lesions" in first
    assert (
        second == "vae does not reach with all lesions what imagenet reaches with all 800 (so in 100 % of resamples)."
    )


def test_the_words_tell_open_ends_and_doubt(found: Efficiency) -> None:
    one = found.answers[0]
    doubtful = replace(one.crossing, low=-np.inf, high=np.inf, below=0.3, beyond=0.2, outcome=Outcome.OPEN)
    text = crossing(replace(one, crossing=doubtful), found)
    assert text.startswith("Not decided: the interval is too wide. On the means vae is behind imagenet")
    assert "fewer than 100 to more than 800 lesions; no crossing within the range in 50 % of resamples" in text
    below = replace(
        one.crossing, share=-np.inf, low=-np.inf, high=-np.inf, below=0.999, beyond=0, outcome=Outcome.BELOW
    )
    assert "by a steady difference over 100 to 800" in crossing(replace(one, crossing=below), found)  # it turns once
    text = crossing(replace(one, crossing=below, turns=0), found)
    assert "with every number of train lesions tried, 100 to 800: the curves do not cross there" in text
    assert "more than 99 % of resamples" in text
    assert "reaches with 100 lesions or fewer what imagenet" in enough(replace(one, enough=below), found)
    within = replace(one.crossing, share=0.5, low=0.25, high=0.75)
    said = "vae reaches with about 400 lesions (50 %) what imagenet reaches with all 800 (interval 200 to 600 lesions)."
    assert enough(replace(one, enough=within), found) == said


def test_figures_show_the_points_over_a_log_axis(found: Efficiency) -> None:
    figures = draw_figures(found)
    assert len(figures) == 4
    axes = figures["efficiency-balanced_accuracy"].axes[0]
    assert axes.get_xscale() == "log" and [line.get_xdata().tolist() for line in axes.lines] == [list(LESIONS)] * 2
    own = [100 * point.scores["balanced_accuracy"].mean for point in found.points if point.arm == "vae"]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), own)
    dashed, apart = figures["efficiency-balanced_accuracy-difference"].axes[0].lines
    assert list(dashed.get_ydata()) == [0, 0] and apart.get_ydata()[0] > 0 > apart.get_ydata()[-1]


def test_the_page_answers_first_and_asks_nothing_of_the_net(found: Efficiency) -> None:
    text = render(found, draw_figures(found))
    assert text == render(found, draw_figures(found))
    assert text.count("<h1>") == 1 and not re.search(r'(src|href)="http', text)
    assert text.index(summary(found)[0]) < text.index("<svg") < text.index("Every point")
    assert "Not a medical device" in text and "SYNTHETIC" not in text
    assert "SYNTHETIC DATA" in render(
        replace(found, plan=replace(PLAN, synthetic=True)), {name: f for name, f in draw_figures(found).items()}
    )


def test_the_table_names_what_is_known_of_each_place(found: Efficiency) -> None:
    words = re.sub(r"<[^>]+>|\s+", " ", render(found, draw_figures(found)))
    place = found.answers[0].crossing
    assert re.search(rf"crossing +Balanced accuracy +{round(800 * place.share)} lesions", words)
    assert re.search(
        r"enough +Balanced accuracy +more than 800 lesions +more than 800 lesions +100 % +not with all", words
    )
    below = replace(place, share=-np.inf, low=-np.inf, high=-np.inf, below=1.0, outcome=Outcome.BELOW)
    other = replace(found, answers=(replace(found.answers[0], crossing=below, turns=3),))
    words = re.sub(r"<[^>]+>|\s+", " ", render(other, draw_figures(found)))
    assert re.search(
        r"crossing +Balanced accuracy +no crossing +they cross 3 times.*? +no crossing +100 % +no crossing", words
    )


def test_a_study_of_one_arm_has_curves_and_no_answer() -> None:
    plan = replace(PLAN, arms=("imagenet",))
    found = assess(_study(plan=plan), plan)
    assert not found.answers and "the study has one arm" in render(found, draw_figures(found))
