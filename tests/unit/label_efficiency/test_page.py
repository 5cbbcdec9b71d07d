"""Figures and page of the learning curves."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from components.label_efficiency import figure
from components.label_efficiency.analysis import LabelEfficiencyResult
from components.label_efficiency.crossing import (
    ShareOutcome,
)
from components.label_efficiency.page import draw_figures, render
from components.label_efficiency.wording import summary
from components.statistics import intervals
from tests.unit.label_efficiency.planted_curves import (
    LESIONS,
    QUESTION,
    assess_runs,
    simulate_runs,
)


def test_tick_labels_that_would_overlap_are_left_out() -> None:
    interval = intervals.Interval(0.5, 0.4, 0.6)
    axes = figure.draw((14, 15, 48), {"vae": [interval] * 3}, "accuracy", {"vae": "#000000"}).axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["48", "15"]


def test_figures_show_the_points_over_a_log_axis(result: LabelEfficiencyResult) -> None:
    figures = draw_figures(result)
    assert len(figures) == 4
    axes = figures["label-efficiency-balanced_accuracy"].axes[0]
    assert axes.get_xscale() == "log" and [line.get_xdata().tolist() for line in axes.lines] == [list(LESIONS)] * 2
    own = [100 * point.scores["balanced_accuracy"].mean for point in result.points if point.arm == "vae"]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), own)
    dashed, apart = figures["label-efficiency-balanced_accuracy-difference"].axes[0].lines
    assert list(dashed.get_ydata()) == [0, 0] and apart.get_ydata()[0] > 0 > apart.get_ydata()[-1]


def test_the_page_answers_first_and_loads_nothing_from_the_network(result: LabelEfficiencyResult) -> None:
    text = render(result, draw_figures(result))
    assert text == render(result, draw_figures(result))
    assert text.count("<h1>") == 1 and not re.search(r'(src|href)="http', text)
    assert text.index(summary(result)[0]) < text.index("<svg") < text.index("Every point")
    assert "Not a medical device" in text and "SYNTHETIC" not in text
    assert "SYNTHETIC DATA" in render(replace(result, question=replace(QUESTION, synthetic=True)), draw_figures(result))


def test_the_table_names_what_is_known_of_each_place(result: LabelEfficiencyResult) -> None:
    words = re.sub(r"<[^>]+>|\s+", " ", render(result, draw_figures(result)))
    place = result.comparisons[0].crossing
    assert re.search(rf"crossing +Balanced accuracy +{round(800 * place.share)} lesions", words)
    assert re.search(
        r"enough +Balanced accuracy +more than 800 lesions +more than 800 lesions +100 % +not with all", words
    )
    below = replace(place, share=-np.inf, low=-np.inf, high=-np.inf, below=1.0, outcome=ShareOutcome.BELOW)
    other = replace(result, comparisons=(replace(result.comparisons[0], crossing=below, turns=3),))
    words = re.sub(r"<[^>]+>|\s+", " ", render(other, draw_figures(result)))
    assert re.search(
        r"crossing +Balanced accuracy +no crossing +they cross 3 times.*? +no crossing +100 % +no crossing", words
    )


def test_a_study_of_one_arm_has_curves_and_no_comparison() -> None:
    question = replace(QUESTION, arms=("imagenet",))
    found = assess_runs(simulate_runs(question=question), question)
    assert not found.comparisons and "the study has one arm" in render(found, draw_figures(found))
