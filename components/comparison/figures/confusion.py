"""Which class each class is taken for, arm by arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from components.comparison.comparison import Comparison
from components.report.figures import arm_colours, confusion
from components.statistics.runs import Run

TITLE = "Confusion matrices"
CAPTION = "Rows are the true class, columns the predicted one; numbers are percent of the row, means over seeds."
SECTION = "classes"


def draw(comparison: Comparison, runs: Sequence[Run]) -> Mapping[str, Figure]:
    """One panel an arm and protocol."""
    del runs  # the comparison holds the counts
    classes, colours = comparison.question.classes, arm_colours(comparison.question.arms)
    return {
        f"{row.arm}, {row.protocol.description}": confusion.draw(np.array(row.confusion), classes, colours[row.arm])
        for row in comparison.rows
    }
