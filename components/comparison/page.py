"""The page that answers the study's question: verdicts, tables and figures in one HTML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from components.clinical.assessment import HEADLINE, ClinicalAssessment
from components.clinical.subgroups import MEASURES
from components.comparison import sentences
from components.comparison.against_null import NULL_MODEL
from components.comparison.comparison import Comparison
from components.comparison.figures import SECTIONS, PageFigure
from components.comparison.protocol import Standing
from components.comparison.recommendation import FEW_LESIONS
from components.comparison.settings import Evaluate
from components.report import page
from components.report.figures import arm_colours
from components.report.formatting import MINUS
from components.report.places import EXTERNAL, place
from components.statistics.runs import FINGERPRINTS

PAPER = (
    ("VAE (self-supervised)", "0.110", MINUS + "33.33 %", "45 → 65 %", "+44.44 %", "rises with train", "", "near zero"),
    ("ImageNet", "0.100", MINUS + "16.67 %", "→ 87 %", "+50.00 %", "plateaus at 75 %", "+19.05 %", "grows to +0.060"),
)
"""Arm, final val loss, change, train accuracy, change, val accuracy, change, gap: arXiv 2505.16773, its table."""

TEST_COLUMNS = {
    "balanced_accuracy": "Balanced accuracy",
    "macro_auroc": "Macro AUROC",
    "accuracy": "Accuracy",
    "log_loss": "Log loss",
    "ece": "Calibration error",
}

GAP_COLUMNS = {
    "gap/loss": f"Loss, val {MINUS} train",
    "gap/accuracy": f"Accuracy, train {MINUS} val, points",
    "gap/balanced_accuracy": "Balanced accuracy, points",
    "gap/macro_auroc": "Macro AUROC, points",
}


def render(
    comparison: Comparison,
    followed: Standing,
    fitness: str,
    evaluate: Evaluate,
    figures: Sequence[PageFigure],
    clinical: ClinicalAssessment,
    clinical_figures: Mapping[str, Figure],
) -> str:
    """The whole page; the same results give the same bytes.

    Args:
        comparison: the study's answer.
        followed: whether it follows a locked protocol.
        fitness: whether the chosen model is judged fit for use, a sentence.
        evaluate: gives the bins of the calibration error.
        figures: of the comparison, as `compare.figures` names them.
        clinical: the assessment for clinical use, shown on the same page.
        clinical_figures: its figures by name.
    """
    question = comparison.question
    return page.render(
        "comparison/page.html.j2",
        {"onset_range": sentences.onset_range, "epoch_range": sentences.epoch_range},
        comparison=comparison,
        followed=followed,
        fitness=fitness,
        question=question,
        settings=comparison.settings,
        calibration_bins=evaluate.calibration_bins,
        clinical=clinical,
        headline_names=HEADLINE,
        measures=MEASURES,
        external=place(EXTERNAL),
        colours=arm_colours(question.arms),
        page_figures={name: _inline([each for each in figures if each.section == name]) for name in SECTIONS},
        figures={name: page.inline_svg(figure, name, _words(name)) for name, figure in clinical_figures.items()},
        headline=sentences.headline(comparison),
        limits=sentences.limits(comparison),
        look=sentences.about_look(question.rule),
        paper=PAPER,
        null_model=NULL_MODEL,
        null_words=_null_words(comparison),
        columns=TEST_COLUMNS,
        pretraining_words=sentences.pretraining_words(comparison),
        meanings=FINGERPRINTS,
        few=FEW_LESIONS,
        gap_columns=GAP_COLUMNS,
        forecasts=[each for each in comparison.differences if each.forecasts],
        needs=[(each, sentences.planning(each.need, comparison.groups)) for each in comparison.differences],
    )


def _null_words(comparison: Comparison) -> list[str]:
    """A sentence for each arm and protocol that is below a null line."""
    rows = [(row, comparison.against_null[row.name].about_null(row.arm)) for row in comparison.rows]
    return [f"{row.protocol.description}: {words}" for row, words in rows if words]


def _inline(figures: Sequence[PageFigure]) -> list[dict[str, object]]:
    """Figures with their panels as SVG; the label of a panel is its title and its caption."""
    return [
        {
            "title": each.title,
            "caption": each.caption,
            "section": each.section,
            "panels": {
                caption: page.inline_svg(panel, each.file_name(caption), f"{each.title}: {caption}")
                for caption, panel in each.panels.items()
            },
        }
        for each in figures
    ]


def _words(name: str) -> str:
    return name.replace("-", " ").replace("_", " ")
