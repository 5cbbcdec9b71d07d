"""The page shows every number of its tables and every figure."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from components.report.formatting import interval_range, number, percent, points
from components.robustness.analysis import RobustnessResult
from components.robustness.occlusion import PICTURES
from components.robustness.page import draw_corruptions, draw_figures, draw_masked, render
from tests.unit.robustness.simulated_runs import IMAGES, QUESTION, SETTINGS, analyse_simulated, simulate


def rendered(result: RobustnessResult) -> str:
    image = np.full((48, 48, 3), 120, np.uint8)
    examples = {
        "corruption-examples": draw_corruptions(
            image, {name: [image] * 2 for name in SETTINGS.corruptions}, SETTINGS.strengths
        ),
        "masked-examples": draw_masked([image] * 2, {name: [image] * 2 for name in PICTURES}),
    }
    return render(result, draw_figures(result) | examples)


def test_the_page_shows_every_number_of_its_tables_and_every_figure(planted: RobustnessResult) -> None:
    text = rendered(planted)
    words = re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<svg.*?</svg>|<[^>]+>", "", text, flags=re.DOTALL))
    for model in planted.models:
        drops = model.drops
        differences = [each.difference.interval for each in (drops, *drops.corruptions) if each.difference]
        shares = [drops.clean, *(each.accuracy.interval for each in model.shortcuts)]
        forms = {
            points: [drops.overall, *(each.drop for each in drops.corruptions), *differences],
            percent: shares,
            number: [each.auroc.interval for each in model.shortcuts],
        }
        assert len(differences) == (0 if model.arm == "imagenet" else 3)
        for form, intervals in forms.items():
            for interval in intervals:
                assert form(interval.mean) in words
                assert interval_range(interval, form) in words
    for name in (*draw_figures(planted), "corruption-examples", "masked-examples"):
        assert text.count(f'aria-label="{name.replace("-", " ")}"') == 1
    assert text.count("<h1>") == 1
    assert "SYNTHETIC" in text
    assert "Not a medical device" in text
    assert "240 test images of 120 lesions or patients, drawn from 300" in words
    assert "nan" not in words.lower().split()
    assert text == rendered(planted)


def test_a_page_with_too_few_seeds_and_lesions_is_rendered() -> None:
    measured, runs = simulate(seeds=1)
    blind = replace(measured, lesion_found=np.zeros(IMAGES, bool))
    result = analyse_simulated(blind, runs, replace(QUESTION, seeds=(0,)))
    assert all(each.accuracy is None for model in result.models for each in model.shortcuts)
    assert "too few lesions" in rendered(result)


def test_a_corruptions_curve_begins_with_the_clean_images(planted: RobustnessResult) -> None:
    axes = draw_figures(planted)["corruption-noise-frozen"].axes[0]
    lines = [line for line in axes.lines if line.get_marker() == "o"]
    assert len(lines) == 2
    drops = planted.models[0].drops
    expected = [drops.clean.mean, *(each.accuracy.mean for each in drops.corruptions[1].strengths)]
    np.testing.assert_allclose(lines[0].get_ydata(), expected)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["clean", "1", "3"]
