"""The study's question from the settings, the same for every stage that analyses runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.comparison.settings import Compare
from components.data.adapters import Adapter
from components.data.ids import about_missing_ids, resampled_unit
from components.data.labels import Labels
from components.statistics.question import StudyQuestion
from flows.settings.study import Study


def build_question(
    study: Study, dataset: Adapter, labels: Labels, compare: Compare, read: Mapping[str, Any] | None = None
) -> StudyQuestion:
    """The question that study and compare (params.yaml) ask of this data set and these classes.

    Args:
        study: arms, protocols and seeds.
        dataset: of the study.
        labels: its classes.
        compare: the rule of decision.
        read: what reading the data set gave, `read` of metrics/ingest.json; None where nothing is said about its ids.
    """
    return StudyQuestion(
        study=study.name,
        arms=study.arms,
        protocols=study.protocols,
        seeds=study.seeds,
        reference=study.reference,
        classes=labels.classes,
        rule=compare.rule(len(study.seeds)),
        resamples=compare.resamples,
        seed=compare.seed,
        synthetic=dataset.kind == "synthetic",
        **({} if read is None else describe_ids(read)),
    )


def describe_ids(read: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of ids, by what reading a data set gave: `read` of the metrics of (external) ingest."""
    images, known = read["images"], read["known_ids"]
    return {
        "ids_known": any(known.values()),
        "lesions_known": known["lesion_id"] == images,
        "unit": resampled_unit(images, known),
        "missing_ids": tuple(about_missing_ids(images, known)),
    }
