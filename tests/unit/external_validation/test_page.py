"""Figure and page of an external validation."""

from __future__ import annotations

import re

import numpy as np
import pytest

from components.external_validation import figure
from components.external_validation.page import draw_figures, render
from components.external_validation.results import ExternalValidationResult
from components.statistics.intervals import Interval


def test_the_page_has_the_claims_and_loads_nothing_from_the_network(result: ExternalValidationResult) -> None:
    text = render(result, draw_figures(result))
    assert text.count("<h1>") == 1
    assert "Not a medical device" in text
    for claim in result.claims:
        assert f'href="#{claim.anchor}"' in text
        assert f'id="{claim.anchor}"' in text
    assert not re.search(r'(?:src|href)="(?!#|\.\./[a-z_]+\.html")', text)
    assert text == render(result, draw_figures(result))
    assert "SYNTHETIC" not in text


def test_the_figure_has_the_internal_side_hollow_above_the_external_one() -> None:
    rows = figure.TwoSets("vae", "#0072b2", Interval(0.7, 0.6, 0.8), Interval(0.5, 0.45, 0.55))
    alone = figure.TwoSets("one seed", "#0072b2", Interval(0.7, -np.inf, np.inf), Interval(np.nan, -np.inf, np.inf))
    lines = figure.draw([rows, alone], "balanced accuracy, %", unit=100).axes[0].lines
    here, dot_here, there, dot_there, lonely = lines  # no whisker without an interval, nothing for what is not known
    assert list(here.get_xdata()) == pytest.approx([60, 80]) and list(there.get_xdata()) == pytest.approx([45, 55])
    assert (dot_here.get_xdata()[0], dot_there.get_xdata()[0]) == (70, 50)
    assert (dot_here.get_markerfacecolor(), dot_there.get_markerfacecolor()) == ("#ffffff", "#0072b2")
    assert dot_here.get_ydata()[0] < dot_there.get_ydata()[0] < lonely.get_ydata()[0]  # drawn from the top
