"""Every folder of ../shared/cases, read whole: rows, images that were found, patients and lesions, or the refusal."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import DataError
from components.base.families import load_member
from components.data.read_report import ReadReport
from tests.unit.data.example_data import FAMILY, paint

CLINIC = {"image_id": "Bild", "diagnosis": "Befund", "lesion_id": "Fall", "patient_id": "Patient", "age": "Alter"}
EXPORT: dict[str, Any] = {"kind": "table", "file": "export.csv", "columns": CLINIC}
SMALL: dict[str, Any] = {
    "kind": "table",
    "file": "t.csv",
    "columns": {"image_id": "file", "diagnosis": "dx", "patient_id": "patient"},
}
PATHS: dict[str, Any] = EXPORT | {
    "columns": {**{name: of for name, of in CLINIC.items() if name != "image_id"}, "path": "Bild"},
    "replace_start": {"/mnt/klinik/bilder/": "pictures/"},
}
# Folder -> settings, column of the table that names the images, encoding and separator to read it for the drawing
CASES: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "absolute-paths": (PATHS, "Bild", "utf-8", ","),
    "excel-semicolon-cp1252": (EXPORT, "Bild", "cp1252", ";"),
    "excel-semicolon-utf8": (EXPORT, "Bild", "utf-8-sig", ";"),
    "float-ids": (EXPORT, "Bild", "utf-8", ","),
    "ham-lesion-trailing-blank": ({"kind": "ham10000"}, "image_id", "utf-8", ","),
    "ham-utf16": ({"kind": "ham10000"}, "image_id", "utf-16", ","),
    "ids-trailing-blank": (SMALL, "file", "utf-8", ","),
    "isic-column-twice": ({"kind": "isic"}, "image", "utf-8", ","),
    "isic-index-column": ({"kind": "isic"}, "image", "utf-8", ","),
    "isic-metadata-semicolon": ({"kind": "isic"}, "image", "utf-8", ","),
    "isic-metadata-with-suffix": ({"kind": "isic"}, "image", "utf-8", ","),
    "nfc-table": (EXPORT, "Bild", "utf-8", ","),
    "patient-na": (SMALL, "file", "utf-8", ","),
    "rows-end-with-comma": (SMALL, "file", "utf-8", ","),
    "stray-quotes": (SMALL, "file", "utf-8", ","),
    "lost-zeros": (EXPORT, "Bild", "utf-8", ","),
}
# Folder -> rows, images found, patients, lesions with an id; None: refused
COUNTS: dict[str, tuple[int, int, int, int] | None] = {
    name: (40, 40, 10, 20)
    for name in ("absolute-paths", "excel-semicolon-cp1252", "excel-semicolon-utf8", "float-ids", "nfc-table")
}


def name_of_file(case: str) -> Callable[[str], str]:
    """How the images of a case are named on disk, where it is not the cell."""
    return {
        "absolute-paths": lambda cell: Path(cell).stem,
        "float-ids": lambda cell: str(int(float(cell))),
        "lost-zeros": lambda cell: cell.zfill(3),
    }.get(case, str)


def test_every_case_is_in_the_corpus(cases: Path) -> None:
    assert {folder.name for folder in cases.iterdir() if folder.is_dir()} == set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_rows_images_and_ids_of_a_case(cases: Path, tmp_path: Path, case: str) -> None:
    settings, column, encoding, separator = CASES[case]
    shutil.copytree(cases / case, tmp_path / "set")
    tables = sorted((tmp_path / "set").glob("*.csv"))
    first = next(table for table in tables if "meta" not in table.stem.lower() or len(tables) == 1)
    first = first if first.stem != "md" else tables[0]
    with first.open(encoding=encoding, newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter=separator))
    named = [name_of_file(case)(row[column].strip()) for row in rows if row[column]]
    paint(tmp_path / "set", *(f"pictures/{name}.jpg" for name in dict.fromkeys(named)))
    member = load_member(FAMILY, settings["kind"])
    report = ReadReport()
    adapter = member.Config(path=tmp_path / "set", **settings)
    if case == "stray-quotes":
        with pytest.raises(DataError, match=r"line 21"):
            adapter.read(report)
        return
    table = adapter.read(report)
    assert len(table) == len(rows)  # rows in are rows out
    found = sum((tmp_path / "set" / path).is_file() for path in table["path"])
    assert found == (0 if case == "lost-zeros" else len(rows))  # lost zeros are named, never guessed
    if case in COUNTS:
        assert COUNTS[case] == (len(table), found, table["patient_id"].nunique(), table["lesion_id"].nunique())
    for column_of, ids in (("patient_id", "patient"), ("lesion_id", "lesion_id")):
        if ids in rows[0]:
            clean = {row[ids].strip() for row in rows} - {"NA", ""}
            assert table[column_of].dropna().nunique() == len(clean)
    if case.startswith("isic-") and len(tables) > 1:
        (join,) = report.joins
        assert (join.matched, join.rows) == (len(rows), len(rows))
