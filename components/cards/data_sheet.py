"""The data sheet of the images that the models learned from and were measured on, as the gate left them.

Sections follow Gebru et al., Datasheets for datasets, CACM 64(12):86-92 (2021; arXiv:1803.09010 of 2018). Every number
comes from a file of the run; the template has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from components.cards import licences, page
from components.clinical.subgroups import NAMES, UNKNOWN, age_bands
from components.data.vocabulary import is_site
from components.report.formatting import percent

Json = Mapping[str, Any]

SPLITS = {
    "train": "learned from",
    "unlabelled": "learned from without labels, in pretraining",
    "val": "chosen on",
    "test": "measured on",
    "withheld": "used nowhere: without a label, but of a lesion or patient in val or test",
}

ATTRIBUTES = ("sex", "age", "site", "skin_type", "source")

OTHER = "other"
"""Body sites in words that components/data/vocabulary.py does not know: free text can tell who somebody is."""


@dataclass(frozen=True)
class Dataset:
    """What the stages up to pack wrote about the images."""

    kind: str  # of the adapter
    published: bool
    key: str  # public or secret: of the hashes that stand for ids
    images: pd.DataFrame  # accepted rows, with the columns group and split
    ingested: Json  # metrics/ingest.json
    validation: Json
    split: Json
    packed: Json
    mapping: Mapping[str, Sequence[str]]  # class to diagnoses
    group_by: Sequence[str]
    folds: int | None  # None: one split
    fit: str  # how pack made squares
    ages: Sequence[int]  # edges of the age bands, years
    least: int  # lesions below which no number of an attribute's value is shown
    synthetic: bool
    study: str
    version: str  # of Dermflow


def write(dataset: Dataset, said: Mapping[str, str | None]) -> str:
    """The sheet as Markdown; the same run gives the same bytes. `said` is the section `cards` of params.yaml."""
    data = licences.of_data(dataset.kind)
    return page.fill(
        "cards/data_sheet.md.j2",
        sheet=dataset,
        data=data,
        title=data.name,
        licence=said["data_licence"] or data.terms,
        limits_of_use=licences.limits_of_use({"trained on": data}),
        stated=page.stated(said),
        unsaid=page.unsaid(said),
        classes=_classes(dataset),
        splits=_splits(dataset),
        attributes=composition(dataset.images, dataset.ages, dataset.least),
        missing={
            name.replace("_", " "): percent(share) for name, share in dataset.validation["profile"]["missing"].items()
        },
        groups=page.count(dataset.images["group"].nunique()),
        sides={name: f"{value:g}" for name, value in dataset.validation["profile"]["quantiles"]["side"].items()},
        failed=[name for name, each in dataset.validation["expectations"].items() if not each["success"]],
    )


def _classes(dataset: Dataset) -> list[dict[str, str]]:
    """Each class with its diagnoses, images, lesions, and images a split."""
    by_class = dataset.images.groupby("label")["group"].nunique()
    return [
        {
            "name": name,
            "diagnoses": ", ".join(diagnoses),
            "images": page.count(dataset.validation["classes"][name]),
            "groups": page.count(int(by_class.get(name, 0))),
            **{split: page.count(dataset.split["classes"][split][name]) for split in ("train", "val", "test")},
        }
        for name, diagnoses in dataset.mapping.items()
    ]


def _splits(dataset: Dataset) -> list[tuple[str, str, str, str]]:
    """Split, what it is for, images, lesions or patients."""
    images, groups = dataset.split["images"], dataset.split["groups"]
    return [(name, use, page.count(images[name]), page.count(groups[name])) for name, use in SPLITS.items()]


def composition(images: pd.DataFrame, ages: Sequence[int], least: int) -> list[tuple[str, str, str, str]]:
    """Attribute, value, images, lesions or patients; values of fewer than `least` of these show no number.

    Unknown is no group of people, and always counted; an attribute of which nothing is known is left out.
    """
    found: list[tuple[str, str, str, str]] = []
    for name in ATTRIBUTES:
        values = _values(images, name, ages)
        if set(values) == {UNKNOWN}:
            continue
        counts = images.groupby(values)["group"].agg(["size", "nunique"])
        hidden = _hidden(counts["nunique"].drop(UNKNOWN, errors="ignore"), least)
        for value in sorted(counts.index, key=_rank):
            shown = ("too few", "too few") if value in hidden else tuple(map(page.count, counts.loc[value].tolist()))
            found.append((NAMES.get(name, name), value, *shown))
    return found


def _hidden(groups: pd.Series, least: int) -> set[str]:
    """The values of too few; a single one is joined by the next smallest, else the total would tell it."""
    few = set(groups.index[groups < least])
    return set(groups.nsmallest(2).index) if len(few) == 1 else few


def _values(images: pd.DataFrame, name: str, ages: Sequence[int]) -> pd.Series:
    """A column as words, `unknown` where it is missing; ages as bands, sites in words of ours."""
    if name == "age":
        return pd.Series(age_bands(images["age"], ages, len(images)), images.index)
    column = images[name].astype("object")
    words = column.where(column.notna(), UNKNOWN).astype("str")
    if name == "site":
        return words.where(words.eq(UNKNOWN) | words.map(is_site), OTHER)
    return words


def _rank(value: str) -> tuple[bool, bool, str]:
    """`under 40` before `40 to 59`, other words by the alphabet, unknown last."""
    return (value == UNKNOWN, not value.startswith("under "), value)
