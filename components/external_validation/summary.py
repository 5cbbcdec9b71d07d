"""All external test sets in one table, from the records of their analyses: the section of the study's main page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from components.external_validation.results import LEADING
from components.report import page
from components.statistics.intervals import Interval, read_interval

Json = Mapping[str, Any]


def render_section(records: Sequence[Json], internal: Json) -> str:
    """HTML of the section.

    Args:
        records: JSON records of the external test sets, in the order of params.yaml.
        internal: of the internal test: images, groups, and its models with their balanced accuracy.
    """
    return page.render(
        "external_validation/summary.html.j2",
        internal=[(model["arm"], model["protocol"], read_interval(model[LEADING])) for model in internal["models"]],
        images=internal["images"],
        rows=[row for record in records for row in _rows(record)],
        notes=[
            f"{record['plan']['cohort']}: {sentence}."
            for record in records
            for sentence in record["plan"]["missing_ids"]["external"]
        ],
        confidence=f"{100 * records[0]['plan']['rule']['confidence']:g}" if records else "",
    )


def _rows(record: Json) -> list[dict[str, Any]]:
    """One row a model on one test set."""
    labels = record["labels"]
    images = sum(each["external_images"] for each in labels["classes"] if each["name"] in labels["compared"])
    return [
        {
            "cohort": record["plan"]["cohort"],
            "images": images,
            "lesions": record["lesions"]["external"],
            "classes": labels["compared"],
            "arm": model["arm"],
            "protocol": model["protocol"],
            "p": model["dropped"]["holm"],
            **_values(model["changes"][LEADING]),
        }
        for model in record["sheets"]
    ]


def _values(change: Json) -> dict[str, Interval]:
    return {name: read_interval(change[name]) for name in ("internal", "external", "drop")}
