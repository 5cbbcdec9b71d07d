"""What every adapter owes, on a small data set of each published layout; then each layout's own points."""

import io
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from components.base.config import OneOf, kinds
from components.base.errors import DataError
from components.data.adapters import Adapter
from components.data.adapters.derm7pt import Config as Derm7pt
from components.data.adapters.dermamnist import Config as DermaMnist
from components.data.adapters.fitzpatrick17k import Config as Fitzpatrick
from components.data.adapters.folder import Config as Folder
from components.data.adapters.ham10000 import Config as Ham10000
from components.data.adapters.isic import Config as Isic
from components.data.adapters.pad_ufes import Config as PadUfes
from components.data.adapters.synthetic import Config as Synthetic
from components.data.adapters.table import Config as Table
from components.data.records import Raw, failures
from components.data.source_error import SourceError
from components.data.sources import list_images, read_bytes
from components.data.vocabulary import SITES, age, diagnosis, sex, site, skin_type, translate
from components.synthetic.dataset import draw_dataset

PAD = "patient_id,lesion_id,smoke,age,gender,fitspatrick,region,diagnostic,img_id\n"
FITZPATRICK = "md5hash,fitzpatrick_scale,fitzpatrick_centaur,label,nine_partition_label,three_partition_label,qc\n"
ISIC_2020 = (
    "image_name,patient_id,lesion_id,sex,age_approx,anatom_site_general_challenge,diagnosis,benign_malignant,target\n"
)


def paint(root: Path, *names: str) -> Path:
    """Small images, each of its own colour, in the format that its name promises."""
    for index, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), (20 * index, 40, 60)).save(root / name)
    return root


def write(root: Path, name: str, text: str) -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")
    return root


def small_synthetic(root: Path) -> Adapter:
    draw_dataset(
        root, lesions=4, unlabelled=1, image_size=16, images_per_lesion=1.4, confounding=0, difficulty=0, seed=1
    )
    return Synthetic(path=root)


def small_ham10000(root: Path) -> Adapter:
    rows = "L1,ISIC_1,nv,histo,45.0,male,back\nL1,ISIC_2,nv,histo,45.0,male,scalp\nL2,ISIC_3,mel,histo,,unknown,\n"
    write(root, "HAM10000_metadata.csv", "lesion_id,image_id,dx,dx_type,age,sex,localization\n" + rows)
    return Ham10000(path=paint(root, *(f"images/ISIC_{index}.jpg" for index in (1, 2, 3))))


def small_folder(root: Path) -> Adapter:
    return Folder(path=paint(root, "nv/a.png", "mel/b.jpg", "unlabelled/c.jpg"))


def small_table(root: Path) -> Adapter:
    write(root, "list.csv", "Bild,Befund,Fall,Geschlecht,Alter,Ort\na,nv,1,w,45,Back\nb,mel,2,m,,face\nc,,3,,85+,\n")
    columns = {
        "image_id": "Bild", "diagnosis": "Befund", "lesion_id": "Fall", "sex": "Geschlecht", "age": "Alter",
        "site": "Ort",
    }  # fmt: skip
    paint(root, "pictures/a.png", "pictures/b.png", "pictures/c.png")
    return Table(path=root, file="list.csv", columns=columns, vocabulary={"w": "female"})


def small_isic(root: Path) -> Adapter:
    rows = (
        "ISIC_1,IP_1,IL_1,male,45,head/neck,unknown,benign,0\nISIC_2,IP_1,IL_2,,,,melanoma,malignant,1\n"
        "ISIC_3,IP_2,IL_3,female,90,palms/soles,nevus,benign,0\n"
    )
    write(root, "ISIC_2020_Training_GroundTruth_v2.csv", ISIC_2020 + rows)
    write(root, "ISIC_2020_Training_Duplicates.csv", "image_name_1,image_name_2\nISIC_1,ISIC_3\n")
    return Isic(path=paint(root, "train/ISIC_1.jpg", "train/ISIC_2.jpg", "train/ISIC_3.jpg"))


def small_pad_ufes(root: Path) -> Adapter:
    rows = "PAT_1,7,,8,,,ARM,NEV,PAT_1_7_5.png\nPAT_2,7,False,55,FEMALE,3.0,NOSE,BCC,PAT_2_7_9.png\n"
    write(root, "metadata.csv", PAD + rows)
    return PadUfes(path=paint(root, "images/imgs_part_1/PAT_1_7_5.png", "images/imgs_part_3/PAT_2_7_9.png"))


def small_fitzpatrick17k(root: Path) -> Adapter:
    rows = "0a,3,3,psoriasis,inflammatory,non-neoplastic,\n0b,-1,6,mycosis fungoides,x,malignant,3 Wrongly labelled\n"
    write(root, "fitzpatrick17k.csv", FITZPATRICK + rows)
    return Fitzpatrick(path=paint(root, "images/0a.jpg", "images/0b.jpg"))


def small_derm7pt(root: Path) -> Adapter:
    header = "case_num,diagnosis,seven_point_score,elevation,location,sex,management,clinic,derm,case_id,notes\n"
    rows = (
        "1,basal cell carcinoma,0,flat,back,female,excision,NEL/NEL026.jpg,NEL/Nel025.jpg,,\n"
        "2,melanoma (in situ),4,flat,head neck,male,excision,Fbl/Fbl1.jpg,Fbl/Fbl2.jpg,x,y\n"
    )
    write(root, "meta/meta.csv", header + rows)
    # on the publisher's file system the case of letters was no difference
    names = "images/NEL/NEL026.jpg", "images/NEL/NEL025.jpg", "images/FBL/Fbl1.jpg", "images/FBL/Fbl2.JPG"
    return Derm7pt(path=paint(root, *names))


def small_dermamnist(root: Path, size: int = 64) -> Adapter:
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    arrays = {}
    for part, count in (("train", 5), ("val", 2), ("test", 3)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, size, size, 3), np.uint8)
        arrays[f"{part}_labels"] = np.arange(count, dtype=np.uint8)[:, None] + 2 * (part == "train")
    np.savez_compressed(root / ("dermamnist.npz" if size == 28 else f"dermamnist_{size}.npz"), **arrays)
    return DermaMnist(path=root, size=size)


SMALL: dict[str, Callable[[Path], Adapter]] = {
    name.removeprefix("small_"): made for name, made in dict(globals()).items() if name.startswith("small_")
}
BY_NAME = ("derm7pt", "fitzpatrick17k", "ham10000", "isic", "pad_ufes", "table")  # find images wherever they lie
every = pytest.mark.parametrize("kind", sorted(SMALL))


def pixels(root: Path, path: str) -> np.ndarray:
    with Image.open(io.BytesIO(read_bytes(root, path))) as image:
        return np.asarray(image.convert("RGB"))


def pack(root: Path) -> None:
    """Every image of a data set into two tar shards, the files removed."""
    names = list_images(root)
    for index in (0, 1):
        (root / "shards").mkdir(exist_ok=True)
        with tarfile.open(root / "shards" / f"{index:03}.tar", "w") as tar:
            for name in names[index::2]:
                tar.add(root / name, name)
    for name in names:
        (root / name).unlink()


# --- every adapter


def test_every_adapter_has_a_small_data_set_here():
    assert set(SMALL) == set(kinds("data.adapters"))


@every
def test_every_adapter_gives_the_contracts_table_in_common_words(kind, tmp_path: Path):
    config = SMALL[kind](tmp_path / "set")
    table = config.read()
    assert len(table) >= 2
    assert list(table) == list(Raw.columns)
    assert failures(table).empty
    assert table["diagnosis"].notna().any()
    assert set(table["site"]) <= ({*SITES, *table["site"]} if kind == "synthetic" else set(SITES))
    pd.testing.assert_frame_equal(table, config.read())


@every
def test_every_path_of_every_adapter_is_an_image_of_its_own(kind, tmp_path: Path):
    config = SMALL[kind](tmp_path / "set")
    paths = config.read()["path"]
    assert len({pixels(config.path, path).tobytes() for path in paths}) == len(paths)
    assert {Path(path).suffix.lower() for path in paths} <= {".jpg", ".png"}


@every
def test_every_adapter_says_whether_its_ids_are_public(kind):
    assert kinds("data.adapters")[kind].published is (kind not in ("folder", "table"))


@every
def test_every_adapter_fails_alike_for_a_folder_that_is_not_there(kind, tmp_path: Path):
    needs = {"file": "list.csv", "columns": {"image_id": "Bild"}} if kind == "table" else {}
    config = kinds("data.adapters")[kind](kind=kind, path=tmp_path / "nowhere", **needs)
    with pytest.raises(DataError, match=r"(?s)nowhere.*dataset\.path|dataset\.path = .*nowhere"):
        config.read()


@every
def test_every_adapter_is_chosen_by_its_kind(kind, tmp_path: Path):
    config = SMALL[kind](tmp_path / "set")
    assert TypeAdapter(Annotated[object, OneOf("data.adapters")]).validate_python(config.model_dump()) == config
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(config)(**{**config.model_dump(), "colour": 1})


@pytest.mark.parametrize("kind", sorted(set(SMALL) - {"folder", "dermamnist"}))
def test_a_row_whose_image_is_gone_keeps_its_place(kind, tmp_path: Path):
    config = SMALL[kind](tmp_path / "set")
    before = config.read()
    (config.path / before["path"][1]).unlink()
    after = config.read()
    assert after["image_id"].to_list() == before["image_id"].to_list()
    assert failures(after).empty
    with pytest.raises(SourceError, match="no such file"):
        read_bytes(config.path, after["path"][1])


@pytest.mark.parametrize("kind", BY_NAME)
def test_images_in_tar_shards_are_found_like_files(kind, tmp_path: Path):
    config = SMALL[kind](tmp_path / "set")
    before = config.read()
    shown = [pixels(config.path, path) for path in before["path"]]
    pack(config.path)
    after = config.read()
    assert after["path"].str.match(r"shards/00[01]\.tar/").all()
    assert all(
        np.array_equal(pixels(config.path, path), image) for path, image in zip(after["path"], shown, strict=True)
    )
    pd.testing.assert_frame_equal(after.drop(columns="path"), before.drop(columns="path"))


@pytest.mark.parametrize("kind", BY_NAME)
def test_without_any_image_the_adapter_says_where_they_belong(kind, tmp_path: Path):
    config = SMALL[kind](tmp_path / "set")
    for name in list_images(config.path):
        (config.path / name).unlink()
    with pytest.raises(DataError, match=r"dataset\.path = .*: no image there; put the images into"):
        config.read()


# --- the vocabulary


@pytest.mark.parametrize(
    ("word", "meaning"),
    [("M", "male"), ("FEMALE", "female"), (" f ", "female"), ("", "unknown"), ("Unknown", "unknown"), ("w", "w")],
)
def test_words_for_sex(word, meaning):
    assert sex(word) == meaning


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("Head and neck", "head/neck"), ("head_neck", "head/neck"), ("FOREARM", "upper extremity"),
        ("acral", "palms/soles"),
        ("head/neck", "head/neck"), ("NaN", "unknown"), ("", "unknown"), ("Buttocks", "buttocks"), ("trunk", "torso"),
    ],
)  # fmt: skip
def test_words_for_sites(word, meaning):
    assert site(word) == meaning


def test_common_sites_are_their_own_translation():
    assert [site(word) for word in SITES] == list(SITES)


@pytest.mark.parametrize(
    ("word", "years"), [("85+", "85"), ("45.0", "45.0"), ("unknown", None), ("", None), ("0", "0")]
)
def test_words_for_ages(word, years):
    assert age(word) == years


@pytest.mark.parametrize(
    ("word", "number"), [("VI", "6"), ("iii", "3"), ("2.0", "2.0"), ("-1", None), ("", None), ("unknown", None)]
)
def test_words_for_skin_types(word, number):
    assert skin_type(word) == number


def test_an_open_diagnosis_is_none_and_others_stay_as_written():
    assert [diagnosis(word) for word in ("unknown", "UNK", "", "none", "Melanoma, NOS")] == [
        None, None, None, "none", "Melanoma, NOS",
    ]  # fmt: skip


def test_a_word_that_nobody_knows_breaks_the_contract_instead_of_vanishing(tmp_path: Path):
    config = small_table(tmp_path)
    write(tmp_path, "list.csv", (tmp_path / "list.csv").read_text().replace(",w,", ",divers,"))
    found = failures(config.read())
    assert found[["rule", "value"]].to_numpy().tolist() == [["sex.words", "divers"]]


def test_only_columns_that_are_there_are_translated():
    assert list(translate(pd.DataFrame({"sex": ["m"], "x": [1]}))) == ["sex", "x"]


# --- isic


def isic(root: Path, *files: tuple[str, str], **settings) -> pd.DataFrame:
    for name, text in files:
        write(root, name, text)
    return Isic(path=paint(root, "images/ISIC_1.jpg"), **settings).read().set_index("image_id")


def test_isic_2020_leaves_unknown_diagnoses_open_or_takes_the_other_column(tmp_path: Path):
    config = small_isic(tmp_path)
    assert config.read()["diagnosis"].fillna("-").to_list() == ["-", "melanoma", "nevus"]
    other = config.model_copy(update={"label": "benign_malignant"}).read()
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
    with pytest.raises(DataError, match=r"1 rows are not one-hot, first ISIC_1: .*MEL.*; expected 0 in every column"):
        isic(tmp_path, ("truth.csv", f"image,MEL,NV,BCC\n{row}\n"))


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
    with pytest.raises(DataError, match=r"no .csv with the columns of an ISIC table; expected isic_id.*notes.csv has"):
        Isic(path=tmp_path).read()
    with pytest.raises(DataError, match=r"notes.csv: has \['what', 'ever'\], expected isic_id"):
        Isic(path=tmp_path, tables=["notes.csv"]).read()
    rows = "isic_id,diagnosis\nISIC_{},nevus\n"
    for index in (1, 2):
        write(tmp_path, f"{index}/metadata.csv", rows.format(index))
    with pytest.raises(DataError, match=r"2 tables of images, 1/metadata.csv, 2/metadata.csv; name the one to read as"):
        isic(tmp_path)
    assert list(isic(tmp_path, tables=["2/metadata.csv"]).index) == ["ISIC_2"]
    assert list(isic(tmp_path, tables=["2/metadata.csv", "1/metadata.csv"]).index) == ["ISIC_2", "ISIC_1"]


def test_a_mask_beside_an_image_of_the_same_name_is_no_second_image(tmp_path: Path):
    config = small_isic(tmp_path)
    paint(tmp_path, "masks/ISIC_1.png")
    with pytest.raises(
        DataError, match=r"first ISIC_1: masks/ISIC_1.png, train/ISIC_1.jpg; keep one .* dataset.images"
    ):
        config.read()
    assert config.model_copy(update={"images": "train"}).read()["path"][0] == "train/ISIC_1.jpg"


@pytest.mark.real
def test_real_isic_2020_has_its_published_counts(tables: Path, tmp_path: Path):
    shutil.copy(tables / "ISIC_2020_Training_GroundTruth_v2.csv", tmp_path)
    paint(tmp_path, "train/ISIC_2637011.jpg")
    table = Isic(path=tmp_path, label="benign_malignant").read()
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
    diagnoses = Isic(path=tmp_path).read()["diagnosis"]
    assert diagnoses.isna().sum() == 27_124
    assert diagnoses.value_counts().head(2).to_dict() == {"nevus": 5_193, "melanoma": 584}


# --- pad_ufes


def test_a_lesion_number_of_two_patients_is_two_lesions(tmp_path: Path):
    table = small_pad_ufes(tmp_path).read()
    assert table["lesion_id"].to_list() == ["PAT_1_7", "PAT_2_7"]
    assert table["skin_type"].fillna(0).to_list() == [0, 3]
    assert table["sex"].to_list() == ["unknown", "female"]


def test_a_row_without_a_lesion_number_is_a_lesion_of_its_own(tmp_path: Path):
    config = small_pad_ufes(tmp_path)
    write(tmp_path, "metadata.csv", PAD + "PAT_1,,,8,,,ARM,NEV,PAT_1_7_5.png\n")
    assert config.read()["lesion_id"].to_list() == ["PAT_1_7_5"]


@pytest.mark.real
def test_real_pad_ufes_has_its_published_counts(tables: Path, tmp_path: Path):
    shutil.copy(tables / "PAD-UFES-20_metadata.csv", tmp_path)
    paint(tmp_path, "images/imgs_part_1/PAT_46_881_939.png")
    table = PadUfes(path=tmp_path).read()
    assert table["diagnosis"].value_counts().to_dict() == {
        "BCC": 845, "ACK": 730, "NEV": 244, "SEK": 235, "SCC": 192, "MEL": 52,
    }  # fmt: skip
    assert len(table) == 2_298
    assert table["patient_id"].nunique() == 1_373
    assert table["skin_type"].value_counts().to_dict() == {2: 876, 3: 392, 1: 153, 4: 62, 5: 10, 6: 1}
    assert table["sex"].value_counts().to_dict() == {"unknown": 804, "female": 753, "male": 741}
    assert table["age"].isna().sum() == 0
    assert set(table["site"]) <= set(SITES)
    assert failures(table).empty
    # the numbers alone are 1,641, of which 250 stand at two patients
    raw = pd.read_csv(tables / "PAD-UFES-20_metadata.csv")
    assert (raw["lesion_id"].nunique(), table["lesion_id"].nunique()) == (1_641, 1_891)
    assert (raw.groupby("lesion_id")["patient_id"].nunique() == 2).sum() == 250
    assert (raw.groupby("lesion_id")["diagnostic"].nunique() == 2).sum() == 226


# --- fitzpatrick17k


def test_fitzpatrick17k_takes_any_of_its_label_columns(tmp_path: Path):
    config = small_fitzpatrick17k(tmp_path)
    table = config.read()
    assert table["diagnosis"].to_list() == ["psoriasis", "mycosis fungoides"]
    assert table["skin_type"].fillna(0).to_list() == [3, 0]
    other = config.model_copy(update={"label": "three_partition_label", "skin_type": "fitzpatrick_centaur"}).read()
    assert other["diagnosis"].to_list() == ["non-neoplastic", "malignant"]
    assert other["skin_type"].to_list() == [3, 6]


@pytest.mark.real
def test_real_fitzpatrick17k_has_its_published_counts(tables: Path, tmp_path: Path):
    shutil.copy(tables / "fitzpatrick17k.csv", tmp_path)
    paint(tmp_path, "images/5e82a45bc5d78bd24ae9202d194423f8.jpg")
    table = Fitzpatrick(path=tmp_path).read()
    assert len(table) == 16_577
    assert table["diagnosis"].nunique() == 114
    assert table["skin_type"].value_counts().to_dict() == {2: 4808, 3: 3308, 1: 2947, 4: 2781, 5: 1533, 6: 635}
    assert table["skin_type"].isna().sum() == 565
    assert failures(table).empty
    three = Fitzpatrick(path=tmp_path, label="three_partition_label").read()["diagnosis"]
    assert three.value_counts().to_dict() == {"non-neoplastic": 12_080, "malignant": 2_263, "benign": 2_234}


# --- derm7pt


def test_derm7pt_gives_one_of_the_two_images_of_a_case(tmp_path: Path):
    config = small_derm7pt(tmp_path)
    derm, clinic = config.read(), config.model_copy(update={"image": "clinic"}).read()
    assert derm["image_id"].to_list() == ["case_1_derm", "case_2_derm"]
    assert clinic["lesion_id"].to_list() == derm["lesion_id"].to_list() == ["case_1", "case_2"]
    assert derm["path"].to_list() == ["images/NEL/NEL025.jpg", "images/FBL/Fbl2.JPG"]
    assert clinic["path"].to_list() == ["images/NEL/NEL026.jpg", "images/FBL/Fbl1.jpg"]
    assert derm["site"].to_list() == ["posterior torso", "head/neck"]


# --- dermamnist


@pytest.mark.parametrize("size", [28, 64, 128, 224])
def test_dermamnist_is_read_at_every_size_under_the_same_names(tmp_path: Path, size):
    config = small_dermamnist(tmp_path, size)
    table = config.read()
    assert table["image_id"].to_list()[4:8] == ["train_00004", "val_00000", "val_00001", "test_00000"]
    assert table["diagnosis"].to_list()[:6] == ["bkl", "df", "mel", "nv", "vasc", "akiec"]
    name = "dermamnist.npz" if size == 28 else f"dermamnist_{size}.npz"
    with np.load(tmp_path / name) as arrays:
        for path, pixel in zip(table["path"][5:7], arrays["val_images"], strict=True):
            assert np.array_equal(pixels(tmp_path, path), pixel)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"train_images": [0]},
            r"dermamnist_64.npz: has no array 'train_labels', but \['train_images'\]; is it DermaMNIST",
        ),
        (
            {"train_labels": [[7]], "val_labels": [[0]], "test_labels": [[0]]},
            r"train_labels has shape \(1, 1\) and .*\[7\]",
        ),
        ({"train_labels": [1], "val_labels": [[0]], "test_labels": [[0]]}, r"train_labels has shape \(1,\)"),
        (None, r"dermamnist_64.npz: is not an intact npz"),
    ],
)
def test_an_npz_of_another_make_is_named(tmp_path: Path, arrays, message):
    if arrays is None:
        (tmp_path / "dermamnist_64.npz").write_bytes(b"PK something else")
    else:
        np.savez(tmp_path / "dermamnist_64.npz", **arrays)
    with pytest.raises(DataError, match=message):
        DermaMnist(path=tmp_path, size=64).read()


def test_a_size_that_is_not_there_is_named(tmp_path: Path):
    small_dermamnist(tmp_path, 28)
    with pytest.raises(DataError, match=r"dermamnist_224.npz is missing; put .* or set dataset.size"):
        DermaMnist(path=tmp_path).read()


# --- table


COLUMNS = {"image_id": "Bild", "diagnosis": "Befund"}


def test_the_table_adapter_maps_columns_and_words(tmp_path: Path):
    table = small_table(tmp_path).read()
    assert table["sex"].to_list() == ["female", "male", "unknown"]
    assert table["age"].fillna(-1).to_list() == [45, -1, 85]
    assert table["site"].to_list() == ["posterior torso", "head/neck", "unknown"]
    assert table["path"].to_list() == ["pictures/a.png", "pictures/b.png", "pictures/c.png"]
    assert set(table["source"]) == {"table"}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_a_table_reads_alike_from_every_format(tmp_path: Path, suffix):
    cells = pd.DataFrame(
        {"nr": [17, 18, 19], "Befund": ["nv", None, "mel"], "Fall": [1, None, 3], "Alter": [45.5, None, 7]}
    )
    file = tmp_path / f"list.{suffix}"
    if suffix == "parquet":
        cells.to_parquet(file)
    else:
        cells.astype({"Fall": "Int64"}).to_csv(file, sep="\t" if suffix == "tsv" else ",", index=False)
    columns = {"image_id": "nr", "diagnosis": "Befund", "lesion_id": "Fall", "age": "Alter"}
    table = Table(path=tmp_path, file=file.name, columns=columns, path_pattern="{image_id}.jpg", source="own").read()
    assert table["path"].to_list() == ["17.jpg", "18.jpg", "19.jpg"]
    assert table["lesion_id"].to_list() == ["1", "18", "3"]  # without a lesion: the image
    assert table["diagnosis"].fillna("-").to_list() == ["nv", "-", "mel"]
    assert table["age"].fillna(-1).to_list() == [45.5, -1, 7]
    assert set(table["source"]) == {"own"}


def test_a_path_is_a_column_or_a_pattern_of_columns(tmp_path: Path):
    write(tmp_path, "list.csv", "Bild,Befund,shard,file\na,nv,000,x/a.jpg\nb,mel,001,x/b.jpg\n")
    pattern = Table(path=tmp_path, file="list.csv", columns=COLUMNS, path_pattern="s/{shard}.tar/{image_id}{{}}.png")
    assert pattern.read()["path"].to_list() == ["s/000.tar/a{}.png", "s/001.tar/b{}.png"]
    column = Table(path=tmp_path, file="list.csv", columns={"path": "file", "diagnosis": "Befund"})
    assert column.read()["path"].to_list() == column.read()["image_id"].to_list() == ["x/a.jpg", "x/b.jpg"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": {"image_id": "bild", "age": "Alter"}}, r"names {'image_id': 'bild', 'age': 'Alter'}; .*\['Bild'"),
        ({"file": "other.csv"}, r"other.csv: is missing; put the table there, or mend dataset.path or dataset.file"),
        ({"file": "list.parquet"}, r"list.parquet: is no parquet table"),
        (
            {"path_pattern": "{image}.jpg"},
            r"path_pattern = '{image}.jpg' .* names \['image'\]; .*has \['Bild', 'Befund'\]",
        ),
    ],
)
def test_the_table_adapter_names_what_the_table_lacks(tmp_path: Path, settings, message):
    write(tmp_path, "list.csv", "Bild,Befund\na,nv\n")
    write(tmp_path, "list.parquet", "no parquet")
    given = {"file": "list.csv", "columns": COLUMNS} | settings
    with pytest.raises(DataError, match=message):
        Table(path=tmp_path, **given).read()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": {"image_id": "a", "label": "b"}}, r"names \['label'\], expected some of"),
        ({"columns": {"age": "a"}}, "names neither image_id nor path"),
        ({"vocabulary": {"w": "weiblich"}}, r"gives \['weiblich'\], expected some of"),
        ({"path_pattern": "all.jpg"}, "expected columns in braces"),
        ({"path_pattern": "{image_id!r}.jpg"}, "expected columns in braces"),
        ({"path_pattern": "{}.jpg"}, "expected columns in braces"),
        ({"path_pattern": "{image_id"}, "is no pattern"),
        ({"path_pattern": "{a}.jpg", "columns": {"path": "p"}}, "both say where an image is"),
    ],
)
def test_settings_of_the_table_adapter_that_cannot_be_meant(tmp_path: Path, settings, message):
    with pytest.raises(ValidationError, match=message):
        Table(**({"path": tmp_path, "file": "list.csv", "columns": COLUMNS} | settings))
