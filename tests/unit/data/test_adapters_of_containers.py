"""The adapters isic2024 and dicom: layouts, odd cases, what is counted; and how validation reads such examples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pydicom
import pytest
from pydantic import ValidationError
from pydicom.uid import BasicTextSRStorage

from components.base.errors import DataError
from components.data.adapters.dicom import Config as Dicom
from components.data.adapters.folder import Config as Folder
from components.data.adapters.isic2024 import Config as Isic2024
from components.data.file_tree import list_images
from components.data.folder_account import account_for_files
from components.data.read_report import ReadReport
from components.data.sources import read_bytes
from components.validation.scan import scan
from tests.unit.data.example_data import drawn, drawn_pixels, pack, paint, write, write_dicom, write_example, write_rows

ADAPTERS = ("isic2024", "dicom", "webdataset", "huggingface", "imagefolder")
JOINED = {"ISIC_2024_Training_GroundTruth.csv": "isic_id,malignant\nISIC_1,0.0\nISIC_2,1.0\nISIC_3,0.0\n"}


def read(config: Any, report: ReadReport | None = None) -> pd.DataFrame:
    return config.read(report if report is not None else ReadReport())


def warned(report: ReadReport) -> dict[str, int]:
    return {
        warning.kind: warning.count for warning in report.warnings if warning.kind not in ("no_ids", "partly_known_ids")
    }


@pytest.mark.parametrize("name", ADAPTERS)
def test_validation_decodes_each_image_of_the_example(name, tmp_path: Path):
    config = write_example(name, tmp_path / "set")
    table = read(config)
    facts = scan(config.path, list(table["path"]), None, lambda items, *_: items).facts
    assert len(facts) == len(table)
    assert facts["problem"].isna().all(), facts[["path", "problem", "detail"]]
    assert set(facts["format"]) <= {"JPEG", "PNG"}
    assert set(table["path"]) <= set(list_images(config.path))


def test_images_in_containers_are_counted_with_their_rows_and_missing_ones_named(tmp_path: Path):
    pack(tmp_path / "a.hdf5", {"1": drawn(1), "2": drawn(2)})
    pack(tmp_path / "b.tar", {"1.jpg": drawn(3)})
    write_rows(tmp_path / "c.parquet", [{"image": {"bytes": None, "path": "x"}} for _ in range(12)])
    frames = drawn_pixels(0).tobytes() * 2
    write_dicom(tmp_path / "d.dcm", drawn_pixels(0), NumberOfFrames=2, PixelData=frames)
    rows = ["a.hdf5/1", "a.hdf5/9", "b.tar/1.jpg", "b.tar/9.jpg", "c.parquet/00", "c.parquet/11", "d.dcm/1", "d.dcm/2"]
    report = ReadReport()
    account_for_files(tmp_path, pd.Series(rows), report)
    assert report.files == {"archives read": 3, "images with a row": 5, "images without a row": 11}
    missing = next(warning for warning in report.warnings if warning.kind == "missing_images")
    assert missing.count == 2 and "a.hdf5/9" in str(missing.examples) and "b.tar/9.jpg" in str(missing.examples)


def test_files_that_hold_many_images_count_as_folders_of_the_adapter_folder(tmp_path: Path):
    pack(tmp_path / "nv.h5", {"1": drawn(1)})
    pack(tmp_path / "mel/0.hdf5", {"2": drawn(2)})
    write_rows(tmp_path / "bcc.parquet", [{"image": {"bytes": drawn(3), "path": "x"}}])
    write_dicom(tmp_path / "df/IM1", drawn_pixels(4))
    table = read(Folder(path=tmp_path)).set_index("path")
    assert table["diagnosis"].to_dict() == {
        "bcc.parquet/0": "bcc",
        "df/IM1": "df",
        "mel/0.hdf5/2": "mel",
        "nv.h5/1": "nv",
    }


# --- isic2024


def test_isic2024_reads_lesions_where_they_are_known_and_patients_of_all(tmp_path: Path):
    table = read(write_example("isic2024", tmp_path)).set_index("image_id")
    assert table["lesion_id"].to_dict() == {"ISIC_1": "ISIC_1", "ISIC_2": "IL_2", "ISIC_3": "ISIC_3"}
    assert table["patient_id"].to_list() == ["IP_1", "IP_1", "IP_2"]
    assert table["path"].to_list() == [f"train-image.hdf5/ISIC_{number}" for number in (1, 2, 3)]
    assert table.loc["ISIC_1", ["age", "sex", "site", "diagnosis"]].to_list() == [
        60.0,
        "male",
        "lower extremity",
        "Benign",
    ]
    assert table.loc["ISIC_3", ["sex", "site"]].to_list() == ["unknown", "posterior torso"]
    assert table["age"].isna().to_list() == [False, False, True]


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("iddx_1", ["Benign", "Malignant", "Benign"]),
        ("iddx_2", [None, "Malignant melanocytic proliferations (Melanoma)", None]),
        ("target", ["benign", "malignant", "benign"]),
    ],
)
def test_isic2024_takes_the_diagnosis_of_the_column_that_is_named(tmp_path: Path, label, expected):
    table = read(write_example("isic2024", tmp_path, label=label))
    assert [None if pd.isna(word) else word for word in table["diagnosis"]] == expected


def test_isic2024_without_a_column_names_it(tmp_path: Path):
    with pytest.raises(DataError, match=r"dataset.label = iddx_4 .*: train-metadata.csv .* no such column"):
        read(write_example("isic2024", tmp_path, label="iddx_4"))


def test_isic2024_prefers_the_hdf5_to_the_same_images_in_a_folder(tmp_path: Path):
    config = write_example("isic2024", tmp_path)
    paint(tmp_path, *(f"train-image/image/ISIC_{number}.jpg" for number in (1, 2, 3)))
    pack(tmp_path / "test-image.hdf5", {"ISIC_9": drawn(9)})
    assert read(config)["path"].to_list() == [f"train-image.hdf5/ISIC_{number}" for number in (1, 2, 3)]
    (tmp_path / "train-image.hdf5").unlink()
    assert read(config)["path"].to_list() == [f"train-image/image/ISIC_{number}.jpg" for number in (1, 2, 3)]


def test_isic2024_joins_the_tables_of_the_isic_challenge_and_counts_what_matched(tmp_path: Path):
    for name, text in JOINED.items():
        write(tmp_path, name, text)
    write(
        tmp_path,
        "ISIC_2024_Training_Supplement.csv",
        "isic_id,attribution,copyright_license,lesion_id,iddx_full,iddx_1\nISIC_1.jpg,A,CC-BY,,Benign,Benign\n"
        "ISIC_2.jpg,A,CC-0,IL_2,Malignant,Malignant\nISIC_3.jpg,A,CC-0,,Benign,Benign\n",
    )
    write(
        tmp_path,
        "ISIC_2024_Training_Input/metadata.csv",
        "isic_id,patient_id,age_approx,sex,anatom_site_general\nISIC_3,IP_2,30,female,head/neck\n"
        "ISIC_1,IP_1,45,male,posterior torso\nISIC_2,IP_1,45,male,lower extremity\n",
    )
    paint(tmp_path, *(f"ISIC_2024_Training_Input/ISIC_{number}.jpg" for number in (1, 2, 3)))
    report = ReadReport()
    table = read(Isic2024(path=tmp_path), report)
    assert table["patient_id"].to_list() == ["IP_1", "IP_1", "IP_2"]
    assert table["diagnosis"].to_list() == ["Benign", "Malignant", "Benign"]
    assert table["lesion_id"].to_list() == ["ISIC_1", "IL_2", "ISIC_3"]
    assert table["path"].to_list() == [f"ISIC_2024_Training_Input/ISIC_{number}.jpg" for number in (1, 2, 3)]
    assert {join.table: (join.matched, join.rows) for join in report.joins} == {
        "ISIC_2024_Training_Input/metadata.csv": (3, 3),
        "ISIC_2024_Training_Supplement.csv": (3, 3),
    }
    assert read(Isic2024(path=tmp_path, label="target"))["diagnosis"].to_list() == ["benign", "malignant", "benign"]


def test_isic2024_refuses_a_supplement_about_other_images(tmp_path: Path):
    for name, text in JOINED.items():
        write(tmp_path, name, text)
    write(
        tmp_path, "ISIC_2024_Training_Supplement.csv", "isic_id,iddx_1\nISIC_7,Benign\nISIC_8,Benign\nISIC_9,Benign\n"
    )
    paint(tmp_path, "ISIC_1.jpg")
    with pytest.raises(DataError, match=r"Supplement.csv: 0 of 3 images matched; expected at least 90%"):
        read(Isic2024(path=tmp_path))


def test_isic2024_refuses_a_target_that_is_neither_0_nor_1(tmp_path: Path):
    config = write_example("isic2024", tmp_path, label="target")
    file = tmp_path / "train-metadata.csv"
    file.write_text(file.read_text().replace("ISIC_2,1,", "ISIC_2,2,"))
    with pytest.raises(DataError, match="1 rows whose target is neither 0 nor 1"):
        read(config)


def test_isic2024_names_an_image_that_the_hdf5_lacks_by_the_path_where_it_should_be(tmp_path: Path):
    config = write_example("isic2024", tmp_path)
    pack(tmp_path / "new.hdf5", {"ISIC_1": drawn(1), "ISIC_2": drawn(2)}).replace(tmp_path / "train-image.hdf5")
    table = read(config)
    assert table["path"].to_list()[2] == "train-image.hdf5/ISIC_3"
    facts = scan(config.path, list(table["path"]), None, lambda items, *_: items).facts
    assert facts["problem"].fillna("-").to_list() == ["-", "-", "missing"]


# --- dicom


def test_dicom_maps_age_sex_and_site(tmp_path: Path):
    table = read(write_example("dicom", tmp_path)).set_index("path")
    assert table["diagnosis"].to_dict() == {"mel/2/IM0001.dcm": "mel", "mel/2/IM0002": "mel", "nv/1/IM0001.dcm": "nv"}
    assert table["age"].to_list()[::2] == [0.5, 45.0]
    assert table["sex"].to_list() == ["male", "unknown", "female"]
    assert table["site"].to_list() == ["unknown", "head/neck", "posterior torso"]
    assert table["patient_id"].to_list() == ["P2", "P2", "P1"]


def test_dicom_reads_no_name_into_the_table(tmp_path: Path):
    config, report = write_example("dicom", tmp_path), ReadReport()
    assert "Doe" not in config.read(report).to_csv() + json.dumps(report.complete())


@pytest.mark.parametrize(
    ("age", "years"), [("045Y", 45.0), ("45Y", 45.0), ("003W", 0.0575), ("010D", 0.02738), ("45", 45.0), ("", None)]
)
def test_dicom_ages_become_years(tmp_path: Path, age, years):
    write_dicom(tmp_path / "nv/a.dcm", drawn_pixels(0), PatientAge=age)
    found = read(Dicom(path=tmp_path, folders=True))["age"].iloc[0]
    assert pd.isna(found) if years is None else found == pytest.approx(years, rel=1e-3)


def test_dicom_takes_the_diagnosis_of_an_attribute(tmp_path: Path):
    write_dicom(tmp_path / "1.dcm", drawn_pixels(0), StudyDescription="Nävus", SpecificCharacterSet="ISO_IR 192")
    write_dicom(tmp_path / "2.dcm", drawn_pixels(1), SeriesDescription="x")
    attributes = {"diagnosis": "StudyDescription", "lesion_id": "SeriesDescription"}
    table = read(Dicom(path=tmp_path, attributes=attributes))
    assert table["diagnosis"].fillna("-").to_list() == ["Nävus", "-"]
    assert table["lesion_id"].to_list() == ["1.dcm", "x"]


@pytest.mark.parametrize("matches", ["file", "AccessionNumber"])
def test_dicom_joins_a_table_and_counts_what_matched(tmp_path: Path, matches):
    keys = {"file": "a/IM1\nb/IM2.dcm\nIM9\n", "AccessionNumber": "A1\nA2\nA9\n"}[matches].splitlines()
    words = ["nv,L1,30", "mel,L2,40", "bcc,L9,50"]
    rows = [f"{key},{word}" for key, word in zip(keys, words, strict=True)]
    write(tmp_path, "list.csv", "\n".join(["Schlüssel,Befund,Fall,Alter", *rows]))
    write_dicom(tmp_path / "a/IM1.dcm", drawn_pixels(0), AccessionNumber="A1")
    write_dicom(tmp_path / "b/IM2", drawn_pixels(1), AccessionNumber="A2", PatientAge="041Y")
    table = {
        "file": "list.csv",
        "key": "Schlüssel",
        "matches": matches,
        "columns": {"diagnosis": "Befund", "lesion_id": "Fall", "age": "Alter"},
    }
    report = ReadReport()
    found = read(Dicom(path=tmp_path, table=table), report)
    assert found["diagnosis"].to_list() == ["nv", "mel"]
    assert found["lesion_id"].to_list() == ["L1", "L2"]
    assert found["age"].to_list() == [30.0, 41.0]  # the file's own attribute counts before the table
    assert [(join.table, join.matched, join.rows) for join in report.joins] == [("list.csv", 2, 2)]
    (tmp_path / "list.csv").write_text("Schlüssel,Befund,Fall,Alter\nX,nv,L1,1\n")
    with pytest.raises(DataError, match=r"list.csv: 0 of 2 images matched"):
        read(Dicom(path=tmp_path, table=table))


def test_dicom_leaves_out_burned_in_text_and_files_without_an_image_and_counts_them(tmp_path: Path):
    write_dicom(tmp_path / "nv/a.dcm", drawn_pixels(0), RecognizableVisualFeatures="YES")
    write_dicom(tmp_path / "nv/b.dcm", drawn_pixels(1), BurnedInAnnotation="YES")
    report_file = write_dicom(tmp_path / "nv/c.dcm", drawn_pixels(2))
    dataset = pydicom.dcmread(report_file)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = BasicTextSRStorage
    del dataset.PixelData, dataset.Rows, dataset.Columns
    dataset.save_as(report_file)
    (tmp_path / "nv/d.dcm").write_bytes((tmp_path / "nv/a.dcm").read_bytes()[:300])
    report = ReadReport()
    table = read(Dicom(path=tmp_path, folders=True), report)
    assert table["path"].to_list() == ["nv/a.dcm", "nv/d.dcm"]
    assert warned(report) == {"burned_in": 1, "no_image": 1, "recognisable": 1, "unread_attributes": 1}
    assert read(Dicom(path=tmp_path, folders=True, burned_in="keep"))["path"].to_list()[:2] == ["nv/a.dcm", "nv/b.dcm"]


def test_dicom_frames_of_a_file_are_one_lesion(tmp_path: Path):
    frames = np.stack([drawn_pixels(number) for number in range(3)])
    write_dicom(tmp_path / "nv/a.dcm", frames[0], NumberOfFrames=3, PixelData=frames.tobytes() + b"\0", PatientID="P1")
    report = ReadReport()
    first = read(Dicom(path=tmp_path, folders=True), report)
    assert first["path"].to_list() == ["nv/a.dcm/1"] and warned(report) == {"further_frames": 1}
    every = read(Dicom(path=tmp_path, folders=True, frames="all"))
    assert every["path"].to_list() == ["nv/a.dcm/1", "nv/a.dcm/2", "nv/a.dcm/3"]
    assert set(every["lesion_id"]) == {"nv/a.dcm"} and set(every["diagnosis"]) == {"nv"}
    assert len({read_bytes(tmp_path, path) for path in every["path"]}) == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"nothing is set for the diagnosis, expected one of dataset.folders"),
        ({"folders": True, "attributes": {"diagnosis": "StudyID"}}, r"folders: true, attributes.diagnosis are set"),
        ({"folders": True, "attributes": {"site": "Befund"}}, r"expected keywords of the DICOM standard"),
        ({"folders": True, "attributes": {"name": "PatientName"}}, r"names \['name'\], expected some of"),
        (
            {"table": {"file": "a.csv", "key": "k", "matches": "x", "columns": {"diagnosis": "d"}}},
            r"matches: 'x', expected",
        ),
    ],
)
def test_dicom_settings_that_contradict_are_refused(tmp_path: Path, settings, message):
    with pytest.raises(ValidationError, match=message):
        Dicom(path=tmp_path, **settings)


def test_dicom_without_dicom_files_says_what_else_to_use(tmp_path: Path):
    paint(tmp_path, "nv/a.jpg")
    with pytest.raises(DataError, match=r"no DICOM file there .*dataset.kind: folder or table"):
        read(Dicom(path=tmp_path, folders=True))
    write_dicom(tmp_path / "a.dcm", drawn_pixels(0))
    with pytest.raises(DataError, match=r"DICOM files lie in no subfolder, but dataset.folders is true"):
        read(Dicom(path=tmp_path, folders=True))
