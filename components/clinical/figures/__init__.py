"""Figures of the clinical section: one figure a file, each with a function draw()."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from components.clinical import subgroups
from components.clinical.assessment import Clinical, ClinicalPlan, Sheet
from components.clinical.figures import decision_curve, reliability, risk_coverage
from components.clinical.figures import operating_points as operating_figure
from components.clinical.figures import subgroups as subgroups_figure
from components.report.figures import arm_colours, confusion


def draw_figures(clinical: Clinical) -> dict[str, Figure]:
    """Every figure of both sections by name."""
    found: dict[str, Figure] = {}
    colours = arm_colours(clinical.plan.arms)
    for protocol in dict.fromkeys(sheet.protocol for sheet in clinical.sheets):
        sheets = {sheet.arm: sheet for sheet in clinical.sheets if sheet.protocol == protocol}
        found |= {f"{name}-{protocol}": figure for name, figure in _of_protocol(sheets, colours).items()}
    for sheet in clinical.sheets:
        found |= _of_sheet(sheet, clinical.plan, colours[sheet.arm])
    return found


def _of_protocol(sheets: Mapping[str, Sheet], colours: Mapping[str, str]) -> dict[str, Figure]:
    before = {arm: sheet.calibration.before for arm, sheet in sheets.items()}
    after = {arm: sheet.calibration.after for arm, sheet in sheets.items()}
    found = {
        "reliability": reliability.draw({arm: each.curve for arm, each in before.items()}, colours),
        "reliability-scaled": reliability.draw({arm: each.curve for arm, each in after.items()}, colours),
        "coverage": risk_coverage.draw({arm: sheet.selective for arm, sheet in sheets.items()}, colours),
    }
    curves = {arm: sheet.benefit for arm, sheet in sheets.items() if sheet.benefit}
    if curves:
        of_risk = {arm: each.malignant for arm, each in after.items()}
        found["reliability-malignant"] = reliability.draw(of_risk, colours, "said: malignant", "is malignant")
        found["operating"] = operating_figure.draw({a: s.operating[0] for a, s in sheets.items()}, colours)
        found["decision"] = decision_curve.draw(curves, colours)
    return found


def _of_sheet(sheet: Sheet, plan: ClinicalPlan, colour: str) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    if sheet.triage is not None and plan.severity is not None:
        found[f"severity-{sheet.name}"] = confusion.draw(np.array(sheet.triage.confusion), list(plan.severity), colour)
    if sheet.subgroups is not None:
        for measure in subgroups.MEASURES:
            if sheet.subgroups.worst(measure) is not None:
                figure = subgroups_figure.draw(sheet.subgroups, measure, colour)
                found[f"subgroups-{measure}-{sheet.name}"] = figure
    return found
