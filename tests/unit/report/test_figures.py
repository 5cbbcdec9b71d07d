"""Figures that several pages draw show the numbers that they were given."""

from __future__ import annotations

import numpy as np

from components.report.figures import PALETTE, arm_colours, arms, confusion
from components.statistics.intervals import Interval


def test_each_arm_keeps_one_colour_and_no_two_share_it() -> None:
    colours = arm_colours([f"arm{place}" for place in range(len(PALETTE))])
    assert len(set(colours.values())) == len(PALETTE)
    assert list(arm_colours(["vae", "imagenet", "random"]).items())[:2] == list(
        arm_colours(["vae", "imagenet"]).items()
    )


def test_dots_have_whiskers_where_an_interval_is_known() -> None:
    dots = [arms.Dot("a", "#000000", 0.5, 0.4, 0.6), arms.Dot("b", "#000000", 0.7, -np.inf, np.inf)]
    axes = arms.draw(dots, "accuracy", line=0.0, margin=0.1).axes[0]
    assert [list(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "-"] == [[0.4, 0.6]]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"] == [0.5, 0.7]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


def test_dots_show_each_source_of_variance_below_the_whisker() -> None:
    dot = arms.Dot("a", "#000000", 0.5, 0.4, 0.6, parts=[(0.42, 0.58), (0.45, 0.55), (float("nan"), float("nan"))])
    lines = arms.draw([dot], "accuracy").axes[0].lines
    shown = [(list(line.get_xdata()), line.get_ydata()[0] > 0, line.get_linestyle()) for line in lines[:3]]
    assert shown == [([0.4, 0.6], False, "-"), ([0.42, 0.58], True, "-"), ([0.45, 0.55], True, "--")]


def test_confusion_shows_percent_of_the_truth_and_leaves_an_absent_class_empty() -> None:
    axes = confusion.draw(np.array([[3, 1, 0], [0, 5, 0], [0, 0, 0]]), ["bcc", "mel", "nv"], PALETTE[0]).axes[0]
    shown = {(text.get_position(), text.get_text()) for text in axes.texts}
    assert shown == {((0.5, 0.5), "75"), ((1.5, 0.5), "25"), ((1.5, 1.5), "100")}


def test_a_dot_with_sources_is_in_its_unit() -> None:
    dot = arms.dot_with_sources("a", "#000000", Interval(0.02, 0.01, 0.04), reaches=(0.01, float("nan")), unit=100)
    assert (dot.mean, dot.low, dot.high) == (2, 1, 4)
    np.testing.assert_allclose(dot.parts, [(1, 3), (np.nan, np.nan)])
