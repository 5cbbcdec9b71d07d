"""Ids in one form, words for nothing, and warnings."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pandas as pd
import pytest

from components.data.adapters.folder import Config as Folder
from components.data.adapters.ham10000 import Config as Ham
from components.data.adapters.isic import Config as Isic
from components.data.adapters.pad_ufes import Config as PadUfes
from components.data.adapters.table import Config as Table
from components.data.ids import (
    NO_IDS,
    about_missing_ids,
    check_ids,
    normalise_ids,
    resampled_unit,
    similar_pairs,
    warn_of_shared,
)
from components.data.read_report import ReadReport
from components.data.records import conform
from components.data.splits import group_rows, split_table
from tests.unit.data.example_data import paint, write


def ids(patients: list[object], lesions: list[object] | None = None, source: str = "a") -> pd.DataFrame:
    count = len(patients)
    return pd.DataFrame(
        {
            "image_id": [f"i{n}" for n in range(count)],
            "path": [f"{n}.png" for n in range(count)],
            "patient_id": pd.Series(patients, dtype="object"),
            "lesion_id": pd.Series(lesions if lesions else [None] * count, dtype="object"),
            "source": source,
        }
    )


def read(table: pd.DataFrame) -> tuple[pd.DataFrame, ReadReport]:
    report = ReadReport()
    return conform(table, "test", report), report


def kinds(report: ReadReport) -> dict[str, int]:
    return {warning.kind: warning.count for warning in report.warnings}


def test_spellings_of_one_id_are_one_id_and_changed_cells_are_counted():
    table, report = read(ids(["P1", "P1 ", "\u00a0P1", "P\u200b1", 17, 17.0, "17,0", "Mu\u0308ller", "M\u00fcller"]))
    assert table["patient_id"].to_list() == ["P1"] * 4 + ["17"] * 3 + ["M\u00fcller"] * 2
    assert report.changed == {"patient_id": 6}
    assert not kinds(report).get("similar_ids")


def test_a_source_with_a_trailing_blank_makes_no_second_person_of_one():
    table, report = read(ids(["P1", "P1"]).assign(source=["clinic", "clinic "]))
    assert table["source"].nunique() == 1
    assert report.changed["source"] == 1


@pytest.mark.parametrize("word", [
    "NA", "N/A", "n.a.", "-", "--", "?", ".", "keine Angabe", "k.A.", "unknown", "(unknown)", "NULL", "None", "nan",
    "#N/A", "<NA>", "xxx", "-1", "-999", "anonymised", "Unbekannt", "inconnu", "\u4e0d\u660e", "patient", "N.N.", "NA ",
    "na\u00a0", "KEINE_ANGABE", "\\N", "nc", "KA",
])  # fmt: skip
def test_a_word_for_nothing_is_no_patient(word):
    table, report = read(ids(["P1", word, word, "P2"]))
    assert table["patient_id"].isna().to_list() == [False, True, True, False]
    assert kinds(report)["ids_not_stated"] == 2
    table, report = read(ids(["P1", "P1", "P2", "P2"], ["L1", word, word, "L2"]))
    assert table["lesion_id"].to_list() == ["L1", "i1", "i2", "L2"]


@pytest.mark.parametrize("word", ["0", "00000", "test", "P-1", "1", "-17", "N1", "A", "XX1", "unknown_7"])
def test_other_words_stay_ids(word):
    table, _ = read(ids(["P1", word, word, "P2"]))
    assert table["patient_id"][1] == word


def test_initials_are_ids_where_the_other_ids_are_initials_too():
    table, report = read(ids(["KA", "BM", "ND", "NA", "RS", "TL"]))
    assert table["patient_id"].isna().to_list() == [False, False, False, True, False, False]
    assert kinds(report)["ids_not_stated"] == 1


def test_similar_ids_are_named_by_pair_and_never_joined():
    table, report = read(ids(["P001", "P1", "p1", "P2", "Q7", "Q 7"]))
    assert table["patient_id"].nunique() == 6
    assert kinds(report)["similar_ids"] == 3
    assert report.warnings[0].examples == ("'P001' and 'P1'", "'P1' and 'p1'", "'Q 7' and 'Q7'")
    assert "P001" not in report.warnings[0].message


def test_ids_of_two_sources_are_not_compared_but_similar_sources_are_named():
    _, report = read(ids(["P1", "p1"]).assign(source=["a", "b"]))
    assert "similar_ids" not in kinds(report)
    _, report = read(ids(["P1", "P1"]).assign(source=["Clinic", "clinic"]))
    assert report.warnings[0].examples == ("'Clinic' and 'clinic'",)


def test_pairs_are_as_many_as_a_naive_loop_finds():
    words = ["a1", "A1", "a01", "b", "B ", "c", "01", "1", "10"]
    assert len(similar_pairs(words)) == 2 + 1 + 1


FEW = [f"P{n % 50}" for n in range(200)]


@pytest.mark.parametrize(("patients", "frequent"), [
    (FEW, 0),
    ([*FEW, *["0"] * 30], 1),
    ([f"P{n % 12}" for n in range(480)], 0),  # 12 patients with 40 images each
    (["P1"] * 60, 1),  # one word for everybody
    (["unclear"] * 10 + [f"P{n}" for n in range(40)], 1),
    (["X"] * 9 + [f"P{n}" for n in range(40)], 0),
    (["P0"] * 90 + ["P1"] * 10, 1),
])  # fmt: skip
def test_an_id_with_far_more_rows_than_the_others_is_warned_of(patients, frequent):
    _, report = read(ids(patients))
    assert kinds(report).get("frequent_ids", 0) == frequent


def test_it_is_said_what_no_ids_mean():
    _, report = read(ids([None, "NA", ""]))
    assert kinds(report)["no_ids"] == 3
    assert report.known_ids == {"patient_id": 0, "lesion_id": 0}
    assert report.warnings[-1].message == NO_IDS
    assert NO_IDS.startswith("no ids of patients or lesions: each image counts as its own; pictures of one person may ")


@pytest.mark.parametrize(("patients", "lesions", "sentences"), [
    (10, 10, []), (10, 4, []), (0, 10, []),
    (4, 10, ["6 of 10 images have no patient id: each of them counts as a patient of its own"]),
    (0, 4, ["6 of 10 images have no lesion id: each of them counts as a lesion of its own"]),
    (0, 0, [NO_IDS]),
])  # fmt: skip
def test_partly_known_ids_are_counted(patients, lesions, sentences):
    assert about_missing_ids(10, {"patient_id": patients, "lesion_id": lesions}) == sentences


def test_ids_that_are_similar_in_study_and_external_set_are_warned_of():
    ours, theirs = ids(["P001", "P2", "P3"]), ids(["P1", "p2", "P3"])
    report = ReadReport()
    warn_of_shared(ours, theirs, report)
    assert kinds(report) == {"similar_ids_of_study": 2}  # equal ids are refused elsewhere
    assert report.warnings[0].examples == ("'P001' (study) and 'P1'", "'P2' (study) and 'p2'")


def test_long_ids_that_two_sources_share_are_warned_of_and_short_ones_are_not():
    report = ReadReport()
    warn_of_shared(
        ids(["1", "P001"], ["HAM_0000001", "HAM_0000002"], "ham10000"),
        ids(["1", "P001"], ["HAM_0000001", "IL_2"], "isic"),
        report,
    )
    assert kinds(report) == {"equal_ids_of_study": 1}
    assert report.warnings[0].examples == ("'HAM_0000001' of ham10000 (study) and isic",)


def test_normalising_twice_reports_once():
    report = ReadReport()
    once = normalise_ids(ids(["P1 ", "NA"]), report)
    before = report.complete()
    pd.testing.assert_frame_equal(normalise_ids(once, report), once)
    assert report.complete() == before


def test_names_of_files_in_either_unicode_form_are_of_one_patient_and_one_diagnosis(tmp_path: Path):
    """As a folder that was copied together from a Mac and another computer."""
    for place, form, blank in ((0, "NFC", " "), (1, "NFD", "\u00a0")):
        name = unicodedata.normalize(form, f"\u00fcbrige/M\u00fcller {place}.png")
        paint(tmp_path, name, f"mel/Meier{blank}{place}.png")
        paint(tmp_path, unicodedata.normalize(form, f"ohne B\u00e4nder/NA {place}.png"))
    report = ReadReport()
    pattern = unicodedata.normalize("NFD", "^([A-Z\u00fca-z]+) ")
    table = Folder(path=tmp_path, patient_pattern=pattern, unlabelled="ohne Ba\u0308nder").read(report)
    assert table.groupby("patient_id").size().to_dict() == {"M\u00fcller": 2, "Meier": 2}
    assert table["diagnosis"].value_counts().to_dict() == {"mel": 2, "\u00fcbrige": 2}  # the others: unlabelled
    assert kinds(report)["ids_not_stated"] == 2


# --- tables as people have them -------------------------------------------------------------------------------------


def test_trailing_blanks_in_a_table_of_ones_own_make_no_second_patient(cases: Path, tmp_path: Path):
    text = (cases / "ids-trailing-blank" / "t.csv").read_text()
    settings = {"file": "t.csv", "columns": {"image_id": "file", "diagnosis": "dx", "patient_id": "patient"}}
    paint(tmp_path, "im000.png")
    read_ids = []
    for each in (text, text.replace(" \n", "\n")):
        write(tmp_path, "t.csv", each)
        report = ReadReport()
        read_ids.append(Table(path=tmp_path, **settings).read(report)["patient_id"])
        assert sum(report.changed.values()) == each.count(" \n")
    assert text.count(" \n") > 0
    pd.testing.assert_series_equal(*read_ids)
    assert read_ids[0].nunique() == len({line.split(",")[2].strip() for line in text.splitlines()[1:]})


def test_no_patient_is_on_two_sides_of_a_split_where_every_second_id_ends_with_a_blank(tmp_path: Path):
    patients = [f"P{place // 3:03}" for place in range(260)]  # 87
    rows = "".join(f"im{n:03},{('nv', 'mel')[n % 2]},{name}{' ' * (n % 2)}\n" for n, name in enumerate(patients))
    write(tmp_path, "t.csv", f"file,dx,patient\n{rows}")
    paint(tmp_path, "im000.png")
    columns = {"image_id": "file", "diagnosis": "dx", "patient_id": "patient"}
    table = Table(path=tmp_path, file="t.csv", columns=columns).read(ReadReport())
    assert table["patient_id"].nunique() == 87
    accepted = table.assign(label=table["diagnosis"], sha256=table["image_id"], twins=None)
    split = split_table(accepted, ("nv", "mel"), ["patient_id"], {"train": 0.7, "val": 0.15, "test": 0.15}, 0)
    sides = split.set_index("image_id")["split"].groupby(pd.Series(patients, table["image_id"])).nunique()
    assert (len(sides), sides.max()) == (87, 1)


def test_trailing_blanks_in_ham10000_make_no_second_lesion(cases: Path, tmp_path: Path):
    text = (cases / "ham-lesion-trailing-blank" / "HAM10000_metadata.csv").read_text()
    paint(tmp_path, "images/ISIC_0024300.jpg")
    found = []
    for each in (text, text.replace(" ,", ",")):
        write(tmp_path, "HAM10000_metadata.csv", each)
        found.append(Ham(path=tmp_path).read(ReadReport())["lesion_id"])
    pd.testing.assert_series_equal(*found)
    assert found[0].nunique() == 20


def test_na_of_half_the_patients_is_no_patient(cases: Path, tmp_path: Path):
    text = (cases / "patient-na" / "t.csv").read_text()
    write(tmp_path, "t.csv", text)
    paint(tmp_path, "im000.png")
    columns = {"image_id": "file", "diagnosis": "dx", "patient_id": "patient"}
    report = ReadReport()
    table = Table(path=tmp_path, file="t.csv", columns=columns).read(report)
    assert table["patient_id"].isna().sum() == text.count(",NA\n") == kinds(report)["ids_not_stated"] > 20
    groups = group_rows(table.assign(sha256=None), ["patient_id", "lesion_id"])
    assert groups.value_counts().max() < 10


@pytest.mark.real
def test_real_tables_keep_their_numbers_without_a_warning(tables: Path, tmp_path: Path):
    paint(tmp_path, "x.jpg")
    for name, config, patients, lesions in (
        ("ISIC_2020_Training_GroundTruth_v2.csv", Isic(path=tmp_path), 2_056, 32_701),
        ("PAD-UFES-20_metadata.csv", PadUfes(path=tmp_path), 1_373, 1_891),
    ):
        write(tmp_path, name, (tables / name).read_text())
        report = ReadReport()
        table = config.read(report)
        assert (table["patient_id"].nunique(), table["lesion_id"].nunique()) == (patients, lesions)
        assert report.warnings == []
        (tmp_path / name).unlink()


@pytest.mark.real
def test_real_ham10000_keeps_its_lesions_without_a_warning(ham10000: Path):
    report = ReadReport()
    table = Ham(path=ham10000).read(report)
    assert (len(table), table["lesion_id"].nunique()) == (10_015, 7_470)
    assert report.warnings == []
    assert report.known_ids == {"patient_id": 0, "lesion_id": 10_015}


def test_no_row_is_no_error():
    report = ReadReport()
    check_ids(ids([]), report)
    assert report.warnings == []


@pytest.mark.parametrize(
    ("patients", "lesions", "unit"),
    [(0, 0, "images"), (0, 9, "lesions"), (0, 5, "lesions"), (9, 0, "patients"), (4, 9, "lesions or patients")],
)
def test_the_unit_of_an_interval_is_named_by_the_ids_that_are_known(patients: int, lesions: int, unit: str) -> None:
    assert resampled_unit(9, {"patient_id": patients, "lesion_id": lesions}) == unit
