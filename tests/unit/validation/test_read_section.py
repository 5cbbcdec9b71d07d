"""The section of the data validation page that shows what reading the data set did."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from components.data.ids import NO_IDS
from components.data.read_report import Join, ReadReport, ReadWarning
from tests.unit.validation.small_report import (
    COUNT,
    NAME,
    read,
    report,
    says,
    write_images,
    written,
)

SIMILAR = ReadWarning("similar_ids", 1, "1 pairs of patient_id differ only in case", (f"'{NAME}' and 'Mustermann'",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images whose paths hold a name."""
    return write_images(tmp_path_factory.mktemp("data"))


def test_the_page_says_what_was_read(folder: Path, tmp_path: Path) -> None:
    read_of = replace(
        report().read,
        joins=[Join("metadata.csv", 29, 30, "ids without file suffix")],
        changed=Counter(patient_id=12),
        files={"images": 31, "images without a row": 1},
        warnings=[SIMILAR],
    )
    text = written(report(read=read_of), folder, tmp_path)
    for part in (
        "1 warning about what was read",
        "HAM10000_metadata.csv 30 separator ',', utf-8",
        "metadata.csv 29 of 30 ids without file suffix",
        "Images with a patient id 28 of 30 Images with a lesion id 30 of 30",
        "Cells changed to one form patient_id 12",
        "In the folder: images 31 files In the folder: images without a row 1 file",
        f"1 pairs of patient_id differ only in case '{NAME}' and 'Mustermann'",
    ):
        assert says(text, part), part


def test_examples_of_warnings_are_shown_only_where_ids_are_public(folder: Path, tmp_path: Path) -> None:
    private = report(read=replace(report().read, warnings=[SIMILAR]), with_examples=False)
    text = written(private, folder, tmp_path)
    assert NAME not in text
    assert says(text, "1 pairs of patient_id differ only in case Examples are in data/read_report.json")


def test_missing_ids_are_said_at_the_top_and_no_lesion_is_counted(folder: Path, tmp_path: Path) -> None:
    unknown = ReadReport(images=COUNT, known_ids={"patient_id": 0, "lesion_id": 0})
    text = written(report(read=unknown, accepted=report().accepted.assign(patient_id=None)), folder, tmp_path)
    assert says(text, f"Ids {NO_IDS}.")
    assert text.index(NO_IDS[:40]) < text.index('<dl class="tiles">')
    assert says(text, "Class Accepted Share Quarantined mel 14 50.0 % 1 nv")
    assert NO_IDS not in read(written(report(), folder, tmp_path / "known")).words
