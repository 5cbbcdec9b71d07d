"""The data sheet of the accepted images, on which the models were trained and tested.

Sections follow Gebru et al., Datasheets for datasets, CACM 64(12):86-92 (2021; arXiv:1803.09010 of 2018). All numbers
come from files of the run; the template has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from components.base.licence import Licence
from components.cards import page
from components.cards.licences import limits_of_use
from components.cards.settings import CardSettings
from components.clinical.attributes import NAMES, UNKNOWN, age_bands, hidden_sizes
from components.data.ids import about_missing_ids, resampled_unit
from components.data.vocabulary import CONFIRMATIONS, is_site
from components.report.formatting import count, percent

Json = Mapping[str, Any]

SPLITS = {
    "train": "training",
    "unlabelled": "pretraining, without labels",
    "val": "choices: epoch, thresholds, model",
    "test": "test",
    "withheld": "not used: no label, and of a lesion or patient in val or test",
}

ATTRIBUTES = ("sex", "age", "site", "skin_type", "source")

OTHER = "other"
"""Body sites that are not in components/data/vocabulary.py: free text can identify a person."""


@dataclass(frozen=True)
class DataRecords:
    """What the stages up to pack recorded about the images, and the settings that the sheet describes."""

    licence: Licence
    published: bool
    key: str
    """Of the hashes of ids: public or secret."""
    images: pd.DataFrame
    """Accepted rows, with the columns group and split."""
    ingested: Json
    """metrics/ingest.json"""
    validation: Json
    """metrics/validation.json"""
    split: Json
    """metrics/split.json"""
    packed: Json
    """metrics/pack.json"""
    mapping: Mapping[str, Sequence[str]]
    """Class to diagnoses."""
    group_by: Sequence[str]
    """Columns whose equal values keep images in one split."""
    folds: int | None
    """Of cross-validation; None: one split."""
    fit: str
    """How pack made squares: crop or pad."""
    ages: Sequence[int]
    """Edges of the age bands, years."""
    least: int
    """Lesions below which no number of an attribute's value is shown."""
    synthetic: bool
    study: str
    version: str
    """Of Dermflow."""


def write(dataset: DataRecords, settings: CardSettings) -> str:
    """The sheet as Markdown; the same run gives the same bytes."""
    read = dataset.ingested["read"]
    return page.fill(
        "cards/data_sheet.md.j2",
        sheet=dataset,
        data=dataset.licence,
        terms=settings.data_licence or dataset.licence.terms,
        limits_of_use=limits_of_use({"trained on": dataset.licence}),
        stated=page.stated(settings),
        missing_statements=page.missing_statements(settings),
        classes=_classes(dataset),
        splits=_splits(dataset),
        confirmations=confirmations(dataset.images, list(dataset.mapping)),
        confirmed_by=CONFIRMATIONS,
        attributes=composition(dataset.images, dataset.ages, dataset.least),
        missing={
            name.replace("_", " "): percent(share) for name, share in dataset.validation["profile"]["missing"].items()
        },
        known_ids=read["known_ids"],
        ids_known=any(read["known_ids"].values()),
        unit=resampled_unit(read["images"], read["known_ids"]),
        missing_ids=about_missing_ids(read["images"], read["known_ids"]),
        groups=count(dataset.images["group"].nunique()),
        sides={name: f"{value:g}" for name, value in dataset.validation["profile"]["quantiles"]["side"].items()},
        failed=[name for name, each in dataset.validation["expectations"].items() if not each["success"]],
    )


def _classes(dataset: DataRecords) -> list[dict[str, str]]:
    """Each class with its diagnoses, images, lesions, and images in each split."""
    by_class = dataset.images.groupby("label")["group"].nunique()
    return [
        {
            "name": name,
            "diagnoses": ", ".join(diagnoses),
            "images": count(dataset.validation["classes"][name]),
            "groups": count(int(by_class.get(name, 0))),
            **{split: count(dataset.split["classes"][split][name]) for split in ("train", "val", "test")},
        }
        for name, diagnoses in dataset.mapping.items()
    ]


def _splits(dataset: DataRecords) -> list[tuple[str, str, str, str]]:
    """Split, use, images, lesions or patients."""
    images, groups = dataset.split["images"], dataset.split["groups"]
    return [(name, use, count(images[name]), count(groups[name])) for name, use in SPLITS.items()]


def confirmations(images: pd.DataFrame, classes: Sequence[str]) -> list[tuple[str, ...]]:
    """Rows of class, split and images by how the diagnosis was confirmed, in the order of CONFIRMATIONS.

    Args:
        images: accepted rows with label, split and, where the data set states it, confirmation.
        classes: in the order of the rows.

    Returns:
        Empty where no diagnosis is stated to be confirmed in any way.
    """
    if "confirmation" not in images or images["confirmation"].eq(UNKNOWN).all():
        return []
    counts = images.groupby(["label", "split", "confirmation"]).size()
    return [
        (name, split, *(count(int(counts.get((name, split, how), 0))) for how in CONFIRMATIONS))
        for name in classes
        for split in ("train", "val", "test")
    ]


def composition(images: pd.DataFrame, ages: Sequence[int], least: int) -> list[tuple[str, str, str, str]]:
    """Rows of attribute, value, images, lesions or patients, as text.

    `unknown` is always counted, since it is no group of people; an attribute without any known value is left out.

    Args:
        images: accepted rows, with the column group and the attributes.
        ages: edges of the age bands, years.
        least: lesions or patients below which a value shows no number.
    """
    found: list[tuple[str, str, str, str]] = []
    for name in ATTRIBUTES:
        values = _values(images, name, ages)
        if set(values) == {UNKNOWN}:
            continue
        counts = images.groupby(values)["group"].agg(["size", "nunique"])
        hidden = hidden_sizes({str(value): int(n) for value, n in counts["nunique"].items()}, least)
        for value in sorted(counts.index, key=_rank):
            shown = ("too few", "too few") if value in hidden else tuple(map(count, counts.loc[value].tolist()))
            found.append((NAMES.get(name, name), value, *shown))
    return found


def _values(images: pd.DataFrame, name: str, ages: Sequence[int]) -> pd.Series:
    """A column as text, `unknown` where it is missing; ages as bands, sites as in the vocabulary."""
    if name == "age":
        return pd.Series(age_bands(images["age"], ages, len(images)), images.index)
    column = images[name].astype("object")
    words = column.where(column.notna(), UNKNOWN).astype("str")
    if name == "site":
        return words.where(words.eq(UNKNOWN) | words.map(is_site), OTHER)
    return words


def _rank(value: str) -> tuple[bool, bool, str]:
    """A sort key: `under 40` before `40 to 59`, others in alphabetical order, unknown last."""
    return (value == UNKNOWN, not value.startswith("under "), value)
