"""The comparison's figures show the numbers that they were given."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from components.comparison.figures import learning_curves, overfitting_gap
from components.report.figures import PALETTE, arm_colours, arms, confusion
from tests.unit.comparison.simulated_study import draw_curve

COLOURS = arm_colours(["vae", "imagenet"])


def _curves() -> dict[str, list[pd.DataFrame]]:
    longer, shorter = draw_curve(0.7, 0.02, 5), draw_curve(0.6, 0.08, 3)
    return {"vae": [longer, shorter], "imagenet": [longer, longer]}


def test_each_arm_keeps_one_colour_and_no_two_share_it() -> None:
    colours = arm_colours([f"arm{place}" for place in range(len(PALETTE))])
    assert len(set(colours.values())) == len(PALETTE)
    assert list(arm_colours(["vae", "imagenet", "random"]).items())[:2] == list(COLOURS.items())


@pytest.mark.parametrize("quantity", ["loss", "accuracy"])
def test_learning_curves_draw_means_over_the_seeds_that_still_run(quantity: str) -> None:
    axes = learning_curves.draw(_curves(), quantity, COLOURS).axes[0]
    train, val = axes.lines[:2]  # of vae
    first, second = (table[f"val/{quantity}"] for table in _curves()["vae"])
    np.testing.assert_allclose(val.get_ydata(), [*(first[:3] + second) / 2, *first[3:]])
    np.testing.assert_array_equal(val.get_xdata(), [1, 2, 3, 4, 5])
    assert (train.get_linestyle(), val.get_linestyle()) == ("--", "-")
    assert [line.get_color() for line in axes.lines] == [COLOURS["vae"]] * 2 + [COLOURS["imagenet"]] * 2


def test_gap_is_drawn_from_zero_with_the_seeds_range() -> None:
    axes = overfitting_gap.draw(_curves(), "loss", COLOURS).axes[0]
    zero, vae, imagenet = axes.lines
    assert list(zero.get_ydata()) == [0, 0]
    assert imagenet.get_ydata()[-1] == pytest.approx(0.02)
    assert vae.get_ydata()[2] == pytest.approx((0.012 + 0.08) / 2)
    band = axes.collections[0].get_paths()[0].vertices
    assert {0.012, 0.08} <= set(band[band[:, 0] == 3, 1].round(6))


def test_dots_have_whiskers_where_an_interval_is_known() -> None:
    dots = [arms.Dot("a", "#000000", 0.5, 0.4, 0.6), arms.Dot("b", "#000000", 0.7, -np.inf, np.inf)]
    axes = arms.draw(dots, "accuracy", line=0.0, margin=0.1).axes[0]
    assert [list(line.get_xdata()) for line in axes.lines if line.get_linestyle() == "-"] == [[0.4, 0.6]]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "o"] == [0.5, 0.7]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


def test_dots_show_each_kind_of_luck_below_the_whisker() -> None:
    dot = arms.Dot("a", "#000000", 0.5, 0.4, 0.6, parts=[(0.42, 0.58), (0.45, 0.55), (float("nan"), float("nan"))])
    lines = arms.draw([dot], "accuracy").axes[0].lines
    shown = [(list(line.get_xdata()), line.get_ydata()[0] > 0, line.get_linestyle()) for line in lines[:3]]
    assert shown == [([0.4, 0.6], False, "-"), ([0.42, 0.58], True, "-"), ([0.45, 0.55], True, "--")]


def test_confusion_shows_percent_of_the_truth_and_leaves_an_absent_class_empty() -> None:
    axes = confusion.draw(np.array([[3, 1, 0], [0, 5, 0], [0, 0, 0]]), ["bcc", "mel", "nv"], PALETTE[0]).axes[0]
    shown = {(text.get_position(), text.get_text()) for text in axes.texts}
    assert shown == {((0.5, 0.5), "75"), ((1.5, 0.5), "25"), ((1.5, 1.5), "100")}
