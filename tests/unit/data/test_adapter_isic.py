"""The tables of ISIC: the archive and the challenges of 2018, 2019 and 2020."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import DataError
from components.data.adapters.isic import Config as Isic
from components.data.read_report import ReadReport
from components.data.records import failures
from tests.unit.data.example_data import paint, write, write_example


def isic(root: Path, *files: tuple[str, str], **settings) -> pd.DataFrame:
    for name, text in files:
        write(root, name, text)
    return Isic(path=paint(root, "images/ISIC_1.jpg"), **settings).read(ReadReport()).set_index("image_id")


def test_isic_2020_leaves_unknown_diagnoses_open_or_takes_the_other_column(tmp_path: Path):
    config = write_example("isic", tmp_path)
    assert config.read(ReadReport())["diagnosis"].fillna("-").to_list() == ["-", "melanoma", "nevus"]
    other = config.model_copy(update={"label": "benign_malignant"}).read(ReadReport())
    assert other["diagnosis"].to_list() == ["benign", "malignant", "benign"]
    assert other["site"].to_list() == ["head/neck", "unknown", "palms/soles"]
    assert other["patient_id"].to_list() == ["IP_1", "IP_1", "IP_2"]


def test_isic_2019_joins_diagnoses_with_lesions_age_site_and_sex(tmp_path: Path):
    truth = (
        "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\n"
        "ISIC_1,0.0,1.0,0.0,0.0,0.0,0.0,0.0,0.0,0.0\nISIC_2_downsampled,0,0,0,0,0,0,0,1,0\nISIC_3,0,0,0,0,0,0,0,0,1\n"
    )
    metadata = (
        "image,age_approx,anatom_site_general,lesion_id,sex\n"
        "ISIC_2_downsampled,30.0,upper extremity,MSK4_1,male\nISIC_1,55.0,anterior torso,,female\n"
        "ISIC_3,,,,\n"
    )
    table = isic(
        tmp_path, ("ISIC_2019_Training_GroundTruth.csv", truth), ("meta/ISIC_2019_Training_Metadata.csv", metadata)
    )
    assert table["diagnosis"].fillna("-").to_dict() == {"ISIC_1": "NV", "ISIC_2_downsampled": "SCC", "ISIC_3": "-"}
    assert table["lesion_id"].to_dict() == {"ISIC_1": "ISIC_1", "ISIC_2_downsampled": "MSK4_1", "ISIC_3": "ISIC_3"}
    assert table.loc["ISIC_2_downsampled", ["age", "sex", "site"]].to_list() == [30.0, "male", "upper extremity"]
    assert table.loc["ISIC_3", ["sex", "site"]].to_list() == ["unknown", "unknown"]
    assert table["path"].to_list() == ["images/ISIC_1.jpg", "images/ISIC_2_downsampled.jpg", "images/ISIC_3.jpg"]


def test_isic_2018_takes_lesions_from_the_groupings(tmp_path: Path):
    truth = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nISIC_1,1.0,0.0,0.0,0.0,0.0,0.0,0.0\nISIC_2,0,0,0,1,0,0,0\n"
    groups = "image,lesion_id,diagnosis_confirm_type\nISIC_1,HAM_1,histopathology\nISIC_2,HAM_1,histopathology\n"
    table = isic(tmp_path, ("truth.csv", truth), ("ISIC2018_Task3_Training_LesionGroupings.csv", groups))
    assert table["diagnosis"].to_list() == ["MEL", "AKIEC"]
    assert table["lesion_id"].to_list() == ["HAM_1", "HAM_1"]


@pytest.mark.parametrize("row", ["ISIC_1,1,1,0", "ISIC_1,0.5,0.5,0", "ISIC_1,x,0,0", "ISIC_1,,0,1"])
def test_a_row_with_two_diagnoses_or_half_ones_is_named(tmp_path: Path, row):
    with pytest.raises(DataError, match=r"1 rows are not one-hot; expected 0 in every column") as error:
        isic(tmp_path, ("truth.csv", f"image,MEL,NV,BCC\n{row}\n"))
    assert error.value.words.startswith("first ISIC_1: {'MEL': ")


def test_marks_with_decimal_commas_are_read(tmp_path: Path):
    truth = "image;MEL;NV;BCC\nISIC_1;1,0;0,0;0,0\nISIC_2;0,0;0,0;1,0\n"
    assert isic(tmp_path, ("truth.csv", truth))["diagnosis"].to_list() == ["MEL", "BCC"]


ARCHIVE = (
    "isic_id,attribution,copyright_license,age_approx,anatom_site_1,anatom_site_2,diagnosis_1,diagnosis_2,diagnosis_3,"
    "fitzpatrick_skin_type,image_type,lesion_id,patient_id,sex\n"
    "ISIC_1,x,CC-BY,85+,Trunk,Posterior trunk,Malignant,y,Basal cell carcinoma,II,dermoscopic,IL_1,IP_1,male\n"
    "ISIC_2,x,CC-BY,40,Upper extremity,Elbow,Benign,,,,dermoscopic,,,\n"
)


def test_the_present_archive_tells_sites_and_diagnoses_in_levels(tmp_path: Path):
    table = isic(tmp_path, ("metadata.csv", ARCHIVE), label="diagnosis_3")
    assert table["diagnosis"].fillna("-").to_list() == ["Basal cell carcinoma", "-"]
    assert table["site"].to_list() == ["posterior torso", "upper extremity"]
    assert table["age"].to_list() == [85, 40]
    assert table["skin_type"].fillna(0).to_list() == [2, 0]
    assert table["lesion_id"].to_list() == ["IL_1", "ISIC_2"]
    assert table["sex"].to_list() == ["male", "unknown"]


def test_the_archive_of_before_2022_is_read_by_its_older_names(tmp_path: Path):
    old = (
        "_id,meta.acquisition.image_type,meta.clinical.age_approx,meta.clinical.anatom_site_general,"
        "meta.clinical.benign_malignant,meta.clinical.diagnosis,meta.clinical.sex,name\n"
        "5436,dermoscopic,45,posterior torso,benign,nevus,female,ISIC_1\n"
    )
    table = isic(tmp_path, ("metadata.csv", "\ufeff" + old))
    assert table.loc["ISIC_1", ["diagnosis", "sex", "site", "age"]].to_list() == [
        "nevus",
        "female",
        "posterior torso",
        45,
    ]


def test_a_label_column_that_the_table_lacks_is_named_with_those_it_has(tmp_path: Path):
    with pytest.raises(
        DataError, match=r"dataset.label = diagnosis .*expected one of \['diagnosis_1', 'diagnosis_2', "
    ):
        isic(tmp_path, ("metadata.csv", ARCHIVE))


def test_several_isic_tables_or_none_are_named(tmp_path: Path):
    write(tmp_path, "notes.csv", "what,ever\n1,2\n")
    with pytest.raises(DataError, match=r"no table with the columns of an ISIC table; expected isic_id") as error:
        Isic(path=tmp_path).read(ReadReport())
    assert error.value.words == "notes.csv has ['what', 'ever']"
    with pytest.raises(DataError, match=r"notes.csv: lacks the columns of a table of images, expected isic_id"):
        Isic(path=tmp_path, tables=["notes.csv"]).read(ReadReport())
    rows = "isic_id,diagnosis\nISIC_{},nevus\n"
    for index in (1, 2):
        write(tmp_path, f"{index}/metadata.csv", rows.format(index))
    with pytest.raises(DataError, match=r"2 tables of images, 1/metadata.csv, 2/metadata.csv; name the one to read as"):
        isic(tmp_path)
    assert list(isic(tmp_path, tables=["2/metadata.csv"]).index) == ["ISIC_2"]
    assert list(isic(tmp_path, tables=["2/metadata.csv", "1/metadata.csv"]).index) == ["ISIC_2", "ISIC_1"]


def test_a_mask_beside_an_image_of_the_same_name_is_no_second_image(tmp_path: Path):
    config = write_example("isic", tmp_path)
    paint(tmp_path, "masks/ISIC_1.png")
    with pytest.raises(DataError, match=r"1 images have several files; keep one of them, .* dataset.images") as error:
        config.read(ReadReport())
    assert error.value.words == "first ISIC_1: masks/ISIC_1.png, train/ISIC_1.jpg"
    assert config.model_copy(update={"images": "train"}).read(ReadReport())["path"][0] == "train/ISIC_1.jpg"


@pytest.mark.real
def test_real_isic_2020_has_its_published_counts(tables: Path, tmp_path: Path):
    shutil.copy(tables / "ISIC_2020_Training_GroundTruth_v2.csv", tmp_path)
    paint(tmp_path, "train/ISIC_2637011.jpg")
    table = Isic(path=tmp_path, label="benign_malignant").read(ReadReport())
    assert table["diagnosis"].value_counts().to_dict() == {"benign": 32_542, "malignant": 584}
    assert (table["patient_id"].nunique(), table["lesion_id"].nunique()) == (2_056, 32_701)
    assert table["sex"].value_counts().to_dict() == {"male": 17_080, "female": 15_981, "unknown": 65}
    assert table["site"].value_counts().to_dict() == {
        "torso": 16_845, "lower extremity": 8_417, "upper extremity": 4_983, "head/neck": 1_855, "unknown": 527,
        "palms/soles": 375, "oral/genital": 124,
    }  # fmt: skip
    assert table["age"].isna().sum() == 68
    assert table["skin_type"].isna().all()
    assert failures(table).empty
    assert table["path"][0] == "train/ISIC_2637011.jpg"
    diagnoses = Isic(path=tmp_path).read(ReadReport())["diagnosis"]
    assert diagnoses.isna().sum() == 27_124
    assert diagnoses.value_counts().head(2).to_dict() == {"nevus": 5_193, "melanoma": 584}
