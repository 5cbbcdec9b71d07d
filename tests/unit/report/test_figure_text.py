"""Text in figures is text: names with signs of formulas, of any letters and any length are drawn as they are."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.text import Text

from components.clinical.figures import subgroups as subgroups_figure
from components.clinical.subgroups import Subgroup, Subgroups
from components.external_validation import figure as two_sets
from components.label_efficiency import figure as learning_curve
from components.report.figures import LONGEST_NAME, PALETTE, arms, confusion, examples, save, short_names, tiles
from components.report.page import inline_svg
from components.statistics.intervals import Interval
from components.training.figures import augmentation
from components.training.figures import range_test as range_test_figure
from components.training.range_test import RangeTest
from tests.unit.names import CLASS_NAMES

FORMULAS = ("$x^$", "$\\frac{$", "$a$ and $b$", "$$", "\\$5", "a_b^c", "100 %", "_hidden")
PICTURE = np.zeros((4, 4, 3), np.uint8)
KNOWN = Interval(0.5, 0.4, 0.6)
COLOURS = dict.fromkeys(CLASS_NAMES, PALETTE[0])


def shown(figure: Figure) -> list[str]:
    """The texts of a figure as its page shows them."""
    svg = inline_svg(figure, "name", "label")
    return [unescape(text) for text in re.findall(r"<text [^>]*>([^<]*)</text>", svg)]


def test_titles_ticks_labels_and_notes_are_drawn_as_written() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.set(title=FORMULAS[0], xlabel=FORMULAS[1], ylabel=FORMULAS[2])
    axes.set_xticks(range(len(FORMULAS)), FORMULAS)
    axes.annotate(FORMULAS[4], (0.5, 0.5))
    assert set(FORMULAS) <= set(shown(figure))


def test_a_legend_is_drawn_as_written() -> None:
    figure = Figure()
    axes = figure.subplots()
    lines = [axes.plot([0, 1], [0, place])[0] for place in range(len(FORMULAS))]
    figure.add_artist(Legend(figure, lines, list(FORMULAS)))
    assert set(FORMULAS) <= set(shown(figure))


def subgroups() -> Subgroups:
    values = {"sensitivity": KNOWN}
    found = [Subgroup("site", name, 9, 9, (), {}, values, {"sensitivity": (0.1, 0.2)}) for name in CLASS_NAMES]
    return Subgroups(least=1, alone=0.99, comparisons=1, subgroups=tuple(found))


FIGURES: dict[str, Callable[[], Figure]] = {
    "confusion": lambda: confusion.draw(np.eye(len(CLASS_NAMES)), CLASS_NAMES, PALETTE[0]),
    "arms": lambda: arms.draw([arms.Dot(name, PALETTE[0], 0.5, 0.4, 0.6) for name in FORMULAS], "$x^$"),
    "examples": lambda: examples.draw([[PICTURE]] * len(FORMULAS), FORMULAS, ["$x^$"]),
    "tiles": lambda: tiles.draw(np.zeros((len(FORMULAS), 1, 4, 4, 3)), FORMULAS, "$x^$"),
    "augmentation": lambda: augmentation.draw(
        [PICTURE] * len(FORMULAS), [[PICTURE, *[None] * (len(FORMULAS) - 1)]], rows=[(name, name) for name in FORMULAS],
        columns=["$x^$"], title="$x^$ " * 20,
    ),
    "two sets": lambda: two_sets.draw([two_sets.TwoSets(name, PALETTE[0], KNOWN, KNOWN) for name in FORMULAS], "$x^$"),
    "learning curve": lambda: learning_curve.draw([10, 100], dict.fromkeys(CLASS_NAMES, [KNOWN] * 2), "$x^$", COLOURS),
    "subgroups": lambda: subgroups_figure.draw(subgroups(), "sensitivity", PALETTE[0]),
}  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_can_be_drawn_with_names_of_any_kind(name: str) -> None:
    """Warnings are errors: a missing letter or an axis without space would be one."""
    words = shown(FIGURES[name]())
    save(FIGURES[name](), BytesIO(), format="png", dpi=50)
    assert any("$x^$" in word for word in words)


def test_the_labels_of_a_confusion_matrix_are_distinct_and_short() -> None:
    axes = FIGURES["confusion"]().axes[0]
    words = [label.get_text() for label in axes.get_yticklabels()]
    assert len(set(words)) == len(CLASS_NAMES)
    assert max(map(len, words)) <= LONGEST_NAME + len(" (2)")
    assert words[0] == "mel" and words[8] == "$x^$" and "_hidden" in words and "a b (1)" in words


def test_names_that_are_cut_to_the_same_label_get_a_number() -> None:
    first, second = "a" * 40 + "x" + "b" * 40, "a" * 40 + "y" + "b" * 40
    assert short_names([first, "nv", second]) == [
        "a" * 21 + "…" + "b" * 10 + " (1)", "nv", "a" * 21 + "…" + "b" * 10 + " (2)",
    ]  # fmt: skip


def test_a_name_is_no_part_of_the_page() -> None:
    evil = '</text></svg><script>alert("1")</script> id="a_1" xmlns="x" version="1.1" #22303c'
    figure = Figure()
    figure.text(0, 0, evil)
    svg = inline_svg(figure, "name", evil)
    assert "<script" not in svg and unescape(svg).count(evil) == 2  # as its text and as its label


def test_the_axis_of_learning_rates_has_plain_numbers() -> None:
    rates, losses = np.logspace(-5, 0, 20).tolist(), np.linspace(2.0, 1.0, 20).tolist()
    found = RangeTest(tuple(rates), tuple(losses), tuple(losses))
    assert {"0.0001", "0.01"} <= set(shown(range_test_figure.draw(found)))


def test_no_other_code_saves_a_figure_or_asks_for_formulas(repo: Path) -> None:
    files = [file for room in ("components", "flows") for file in (repo / room).rglob("*.py")]
    wrong = re.compile(r"\.savefig\(|mathdefault|mathtext|usetex=|\.legend\(|print_figure|plt\.")
    found = {str(file.relative_to(repo)): wrong.findall(file.read_text()) for file in files}
    assert {file: words for file, words in found.items() if words} == {
        "components/report/figures/__init__.py": [".savefig("]
    }


def test_texts_made_before_saving_are_plain_afterwards() -> None:
    figure = arms.draw([arms.Dot("$x^$", PALETTE[0], 0.5, 0.4, 0.6)], "x")
    save(figure, BytesIO(), format="svg")
    assert not any(text.get_parse_math() for text in figure.findobj(Text))
