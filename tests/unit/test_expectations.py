"""Acceptance of whole data sets: each expectation fails on a table made to fail it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.expectations import accept, describe

CLASSES = ("mel", "nv")


def table(count: int = 40) -> pd.DataFrame:
    """Accepted rows without fault."""
    names = [f"i{n}" for n in range(count)]
    return pd.DataFrame(
        {
            "image_id": names,
            "label": [*CLASSES] * (count // 2),
            "group": names,
            "sha256": names,
            "age": 50.0,
            "sex": "female",
            "site": "back",
            "width": 200,
            "height": 150,
            "luma": 128.0,
            "source": "SYNTHETIC",
        }
    )


def failed(rows: pd.DataFrame, docs: Path) -> list[str]:
    return [describe(finding) for finding in accept(rows, CLASSES, 3, 0.5, docs) if not finding["success"]]


def test_a_sound_table_is_accepted_and_shown_as_synthetic(tmp_path: Path) -> None:
    findings = accept(table(), CLASSES, 3, 0.5, tmp_path / "docs")
    assert len(findings) == 9
    assert all(finding["success"] for finding in findings)
    pages = sorted((tmp_path / "docs").rglob("*.html"))
    assert len(pages) == 3  # index, suite, validation
    assert all("SYNTHETIC" in page.read_text() for page in pages)
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]


def test_findings_are_the_same_twice_and_the_docs_are_replaced(tmp_path: Path) -> None:
    first, second = (accept(table(), CLASSES, 3, 0.5, tmp_path / "docs") for _ in range(2))
    assert first == second
    assert len(list((tmp_path / "docs").rglob("validations/**/*.html"))) == 1


def test_observed_values_are_those_counted_by_hand(tmp_path: Path) -> None:
    rows = table().assign(age=[50.0, np.nan] * 20, luma=[0.0] + [128.0] * 39)
    rows["site"] = rows["site"].where(rows.index >= 10, "unknown")
    seen = {finding["measure"]: finding["observed"] for finding in accept(rows, CLASSES, 3, 0.5, tmp_path / "d")}
    assert seen == {
        "rows": 40,
        "groups of class mel": 20,
        "groups of class nv": 20,
        "share of rows with age": 0.5,
        "share of rows with sex": 1,
        "share of rows with site": 0.75,
        "share of images with longer side by shorter 1 to 3": 1,
        "share of images with mean luma 10 to 245": pytest.approx(39 / 40),
        "share of distinct files": 1,
    }


def test_each_fault_fails_its_expectation_alone(tmp_path: Path) -> None:
    sound = table()
    one_group = sound.assign(group=sound["group"].where(sound["label"] != "mel", "i0"))
    no_class = sound.assign(label=sound["label"].where(sound["label"] != "mel"))
    faults = {
        "groups of class mel: 1, expected at least 3": one_group,
        "groups of class mel: 0, expected at least 3": no_class,
        "share of rows with age: 0, expected at least 0.5": sound.assign(age=np.nan),
        "share of rows with sex: 0, expected at least 0.5": sound.assign(sex="unknown"),
        "share of images with longer side by shorter 1 to 3: 0, expected at least 0.99": sound.assign(width=900),
        "share of images with mean luma 10 to 245: 0, expected at least 0.99": sound.assign(luma=1.0),
        "share of distinct files: 0.025, expected at least 0.5": sound.assign(sha256="same"),
    }
    for text, rows in faults.items():
        (message,) = failed(rows, tmp_path / "docs")
        assert message.startswith(text), message


def test_a_failure_names_the_setting_that_mends_it(tmp_path: Path) -> None:
    messages = failed(table(4).assign(age=np.nan, source="a/b"), tmp_path / "docs")
    mends = ["labels.schemes", "validate.min_groups_per_class", "validate.min_groups_per_class"]
    for message, mend in zip(messages, [*mends, "validate.max_missing_share"], strict=True):
        assert f"{mend}" in message and "params.yaml" in message
