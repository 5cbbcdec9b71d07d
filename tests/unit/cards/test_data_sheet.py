"""The data sheet: counts of data validation and split, and no number about few people."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd

from components.cards import data_sheet
from components.cards.data_sheet import confirmations
from components.data.vocabulary import CONFIRMATIONS
from tests.unit.cards.simulated_run import (
    CLASSES,
    PAGES,
    load_json,
    read_text,
    table_below,
)


def test_counts_are_those_of_data_validation_and_split(folder: Path) -> None:
    text, images = read_text(folder, "data_sheet.md"), pd.read_csv(folder / "split")
    counts = {what: count.replace(",", "") for what, count in table_below(text, "Composition")}
    seen = load_json(folder, "metrics/validation.json")
    assert counts["Images read"] == str(seen["rows"])
    assert counts["Patients with an id"] == "not known"
    assert counts["Groups of near-duplicates"] == "6"
    assert dict(table_below(text, "Quarantined")) == {"`image.corrupt`": "2", "`diagnosis.outside_map`": "1"}
    assert dict(table_below(text, "Missing values")) == {
        "age": "1.2",
        "sex": "0.0",
        "site": "25.0",
        "skin type": "100.0",
    }
    for name, cells in zip(CLASSES, table_below(text, "By class"), strict=True):
        own = images[images["label"] == name]
        parts = [int((own["split"] == split).sum()) for split in ("train", "val", "test")]
        assert [int(cell.replace(",", "")) for cell in cells[2:]] == [len(own), own["group"].nunique(), *parts]
    for name, _, count, groups in table_below(text, "Splits, and how leaks are prevented"):
        part = images[images["split"] == name]
        assert (int(count.replace(",", "")), int(groups)) == (len(part), part["group"].nunique())


def test_a_value_of_few_people_shows_no_number() -> None:
    values = {"torso": 30, "head/neck": 25, "lower extremity": 40, "palms/soles": 3}
    images = pd.DataFrame(
        {
            "site": [name for name, count in values.items() for _ in range(count)] + [None] * 2,
            "sex": "female", "age": np.nan, "skin_type": pd.NA, "source": "x",
        }
    ).assign(group=lambda table: table.index)  # fmt: skip
    rows = {value: images for name, value, images, _ in data_sheet.composition(images, (40,), 20) if name == "site"}
    shown = {"torso": "30", "lower extremity": "40", "unknown": "2"}
    assert rows == shown | {"head/neck": "too few", "palms/soles": "too few"}  # else the total would reveal the last
    assert "age" not in {name for name, *_ in data_sheet.composition(images, (40,), 20)}


def test_body_sites_outside_the_vocabulary_are_other() -> None:
    sites = ["torso"] * 30 + ["back"] * 30 + ["scar of Anna Muster"] * 24 + ["left of it"]
    images = pd.DataFrame({"site": sites, "sex": None, "age": np.nan, "skin_type": pd.NA, "source": None})
    rows = data_sheet.composition(images.assign(group=images.index), (40,), 20)
    assert rows == [("site", "back", "30", "30"), ("site", "other", "25", "25"), ("site", "torso", "30", "30")]


def test_the_cards_name_no_image_no_lesion_and_no_path(folder: Path) -> None:
    images = pd.read_parquet(folder / "accepted")
    for name in PAGES:
        text = read_text(folder, name)
        assert not any(word in text for word in (*images["image_id"], *images["lesion_id"], "a/b.jpg", str(folder)))
        assert "Muster" not in text
        assert not re.search(r"[a-z]\.[A-Z]", text)  # two sentences without a space between
        assert not re.search(r"/tmp|/home|/work|20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d", text)


def test_confirmations_are_counted_by_class_and_split() -> None:
    words = ["histology", "histology", "follow-up", "unknown", "histology"]
    images = pd.DataFrame(
        {
            "label": ["mel", "mel", "nv", "nv", "nv"],
            "split": ["train", "test", "test", "test", "train"],
            "confirmation": words,
        }
    )
    rows = {row[:2]: dict(zip(CONFIRMATIONS, row[2:], strict=True)) for row in confirmations(images, ["mel", "nv"])}
    assert rows["mel", "test"]["histology"] == "1" and rows["mel", "val"]["histology"] == "0"
    assert (rows["nv", "test"]["follow-up"], rows["nv", "test"]["unknown"]) == ("1", "1")
    assert sum(int(number) for row in rows.values() for number in row.values()) == 5
    assert confirmations(images.assign(confirmation="unknown"), ["mel", "nv"]) == []
    assert confirmations(images.drop(columns="confirmation"), ["mel", "nv"]) == []
