"""The study's question from the settings, the same for every stage that analyses runs."""

from __future__ import annotations

from components.comparison.settings import Compare
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.statistics.question import StudyQuestion
from components.statistics.rule import Rule
from flows.settings.study import Study


def build_question(study: Study, dataset: Adapter, labels: Labels, compare: Compare) -> StudyQuestion:
    """The question that study and compare (params.yaml) ask of this data set and these classes."""
    return StudyQuestion(
        study=study.name,
        arms=study.arms,
        protocols=study.protocols,
        seeds=study.seeds,
        reference=study.reference,
        classes=labels.classes,
        rule=Rule(compare.confidence, compare.margin, compare.min_seeds),
        resamples=compare.resamples,
        seed=compare.seed,
        synthetic=dataset.kind == "synthetic",
    )
