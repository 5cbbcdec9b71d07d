"""The figures of the comparison's page: what every member gives, and the numbers that they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.base.families import load_member, members
from components.comparison.comparison import Comparison
from components.comparison.figures import FAMILY, SECTIONS, draw_figures, learning_curves, overfitting_gap
from components.report.figures import arm_colours
from components.statistics.runs import Run
from tests.unit.comparison.simulated_study import Truth, draw_curve, simulate_comparison

COLOURS = arm_colours(["vae", "imagenet"])


def _curves() -> dict[str, list[pd.DataFrame]]:
    longer, shorter = draw_curve(0.7, 0.02, 5), draw_curve(0.6, 0.08, 3)
    return {"vae": [longer, shorter], "imagenet": [longer, longer]}


@pytest.mark.parametrize("quantity", ["loss", "accuracy"])
def test_learning_curves_draw_means_over_the_seeds_that_have_the_epoch(quantity: str) -> None:
    axes = learning_curves.draw_curves(_curves(), quantity, COLOURS).axes[0]
    train, val = axes.lines[:2]  # of vae
    first, second = (table[f"val/{quantity}"] for table in _curves()["vae"])
    np.testing.assert_allclose(val.get_ydata(), [*(first[:3] + second) / 2, *first[3:]])
    np.testing.assert_array_equal(val.get_xdata(), [1, 2, 3, 4, 5])
    assert (train.get_linestyle(), val.get_linestyle()) == ("--", "-")
    assert [line.get_color() for line in axes.lines] == [COLOURS["vae"]] * 2 + [COLOURS["imagenet"]] * 2


def test_gap_is_drawn_from_zero_with_the_seeds_range() -> None:
    axes = overfitting_gap.draw_gap(_curves(), "loss", COLOURS).axes[0]
    zero, vae, imagenet = axes.lines
    assert list(zero.get_ydata()) == [0, 0]
    assert imagenet.get_ydata()[-1] == pytest.approx(0.02)
    assert vae.get_ydata()[2] == pytest.approx((0.012 + 0.08) / 2)
    band = axes.collections[0].get_paths()[0].vertices
    assert {0.012, 0.08} <= set(band[band[:, 0] == 3, 1].round(6))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Comparison, list[Run]]:
    """Two arms, two protocols, three seeds."""
    truth = Truth(right={"vae": 0.6, "imagenet": 0.7}, gap={"vae": 0.0, "imagenet": 0.06}, lesions=60)
    return simulate_comparison(truth, tmp_path_factory.mktemp("study"))


@pytest.mark.parametrize("name", members(FAMILY))
def test_a_figure_has_what_the_page_needs(name: str, study: tuple[Comparison, list[Run]]) -> None:
    module = load_member(FAMILY, name)
    assert module.__doc__ and "\n" not in module.__doc__
    assert module.TITLE[0].isupper() and not module.TITLE.endswith(".")
    assert module.CAPTION.endswith(".")
    assert module.SECTION in SECTIONS
    (figure,) = draw_figures([name], *study)
    assert figure.panels and len({figure.file_name(panel) for panel in figure.panels}) == len(figure.panels)
    for caption, panel in figure.panels.items():
        assert caption[0].isalpha() and not caption.endswith(".")
        assert panel.axes[0].get_xlabel()
        assert panel.axes[0].has_data()


@pytest.mark.parametrize("name", members(FAMILY))
def test_a_figure_is_drawn_or_left_out_for_a_study_of_one_arm(name: str, tmp_path: Path) -> None:
    truth = Truth(right={"imagenet": 0.6}, gap={"imagenet": 0.1}, seeds=(4,), protocols=("full",), lesions=40)
    found = draw_figures([name], *simulate_comparison(truth, tmp_path))
    assert bool(found) == (load_member(FAMILY, name).SECTION != "differences")


def test_figures_come_in_the_given_order(study: tuple[Comparison, list[Run]]) -> None:
    assert [each.name for each in draw_figures(["confusion", "arms"], *study)] == ["confusion", "arms"]


def test_the_family_is_not_empty() -> None:
    assert {"arms", "confusion", "learning_curves", "overfitting_gap", "paired_differences"} <= set(members(FAMILY))


def test_a_panels_file_name_is_plain(study: tuple[Comparison, list[Run]]) -> None:
    (figure,) = draw_figures(["learning_curves"], *study)
    assert figure.file_name("Loss, encoder frozen") == "learning_curves-loss-encoder-frozen"
