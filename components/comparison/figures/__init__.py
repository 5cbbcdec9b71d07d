"""The figures of the comparison's page, one a module: a new figure is a new file here, named in `compare.figures`.

A module has a docstring of one line and

    TITLE: str      the heading on the page
    CAPTION: str    how to read the figure
    SECTION: str    where on the page, one of SECTIONS
    draw(comparison: Comparison, runs: Sequence[Run]) -> Mapping[str, Figure]

`draw` gives one or several panels by their captions; none where the study has nothing to show in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.base.families import load_member

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from components.comparison.comparison import Comparison
    from components.statistics.runs import Run

FAMILY = "comparison.figures"

SECTIONS = ("learning", "gap", "test", "differences", "classes")
"""Parts of the page, from top to bottom: how the models learned, the overfitting gap, test metrics of the arms,
differences from the reference, and results by class."""


@dataclass(frozen=True)
class PageFigure:
    """A member of the family, drawn for one study."""

    name: str
    title: str
    caption: str
    section: str
    panels: Mapping[str, Figure]
    """By caption."""

    def file_name(self, panel: str) -> str:
        """A panel's name as a file in MLflow, without extension."""
        return f"{self.name}-{re.sub(r'[^a-z0-9_]+', '-', panel.lower()).strip('-')}"


def draw_figures(names: Iterable[str], comparison: Comparison, runs: Sequence[Run]) -> list[PageFigure]:
    """The named figures in their order; one without a panel is left out.

    Args:
        names: modules of this folder.
        comparison: what was found.
        runs: of the study, with their curves.

    Raises:
        SettingsError: where the folder has no such file.
    """
    drawn = [_draw(name, load_member(FAMILY, name), comparison, runs) for name in names]
    return [figure for figure in drawn if figure.panels]


def _draw(name: str, module: Any, comparison: Comparison, runs: Sequence[Run]) -> PageFigure:
    return PageFigure(name, module.TITLE, module.CAPTION, module.SECTION, module.draw(comparison, runs))
