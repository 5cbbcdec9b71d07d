"""Behaviour of the published layouts beyond the contract: missing images, tars, and each layout's own points."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from components.base.errors import DataError
from components.base.families import members
from components.data.adapters.dermamnist import Config as DermaMnist
from components.data.adapters.fitzpatrick17k import Config as Fitzpatrick
from components.data.adapters.isic import Config as Isic
from components.data.adapters.pad_ufes import Config as PadUfes
from components.data.adapters.synthetic import Config as Synthetic
from components.data.file_tree import list_images
from components.data.read_report import ReadReport
from components.data.records import failures
from components.data.sources import SourceError, read_bytes
from components.data.vocabulary import SITES
from components.synthetic.dataset import draw_dataset
from tests.unit.data.example_data import example_of, paint, read_pixels_of, write, write_example

BY_NAME = ("derm7pt", "fitzpatrick17k", "ham10000", "isic", "pad_ufes", "table")
"""Adapters that find images by their names, in any folder or tar."""


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


@pytest.mark.parametrize("kind", sorted(set(members("data.adapters")) - {"synthetic"}))
def test_sites_are_those_of_the_vocabulary(kind, tmp_path: Path):
    assert set(write_example(kind, tmp_path / "set").read(ReadReport())["site"]) <= set(SITES)


@pytest.mark.parametrize("kind", ["folder", "table"])
def test_ids_of_images_of_ones_own_are_secret(kind, tmp_path: Path):
    assert not write_example(kind, tmp_path / "set").published


@pytest.mark.parametrize("kind", sorted({*BY_NAME, "synthetic"}))
def test_a_row_whose_image_is_gone_keeps_its_place(kind, tmp_path: Path):
    config = write_example(kind, tmp_path / "set")
    before = config.read(ReadReport())
    (config.path / before["path"][1]).unlink()
    after = config.read(ReadReport())
    assert after["image_id"].to_list() == before["image_id"].to_list()
    assert failures(after).empty
    with pytest.raises(SourceError, match="no such file"):
        read_bytes(config.path, after["path"][1])


@pytest.mark.parametrize("kind", BY_NAME)
def test_images_in_tar_shards_are_found_like_files(kind, tmp_path: Path):
    config = write_example(kind, tmp_path / "set")
    before = config.read(ReadReport())
    shown = [read_pixels_of(config.path, path) for path in before["path"]]
    pack(config.path)
    after = config.read(ReadReport())
    assert after["path"].str.match(r"shards/00[01]\.tar/").all()
    assert all(
        np.array_equal(read_pixels_of(config.path, path), image)
        for path, image in zip(after["path"], shown, strict=True)
    )
    pd.testing.assert_frame_equal(after.drop(columns="path"), before.drop(columns="path"))


@pytest.mark.parametrize("kind", BY_NAME)
def test_without_any_image_the_adapter_says_where_they_belong(kind, tmp_path: Path):
    config = write_example(kind, tmp_path / "set")
    for name in list_images(config.path):
        (config.path / name).unlink()
    with pytest.raises(DataError, match=r"dataset\.path = .*: no image there; put the images into"):
        config.read(ReadReport())


# --- synthetic


def test_the_drawn_data_set_is_read(tmp_path: Path):
    draw_dataset(
        tmp_path, lesions=4, unlabelled=1, image_size=16, images_per_lesion=1.4, confounding=0, difficulty=0, seed=1
    )
    table = Synthetic(path=tmp_path).read(ReadReport())
    assert failures(table).empty and table["diagnosis"].notna().any()
    paths = table["path"]
    assert len({read_pixels_of(tmp_path, path).tobytes() for path in paths}) == len(paths) >= 4


# --- pad_ufes


def test_a_lesion_number_of_two_patients_is_two_lesions(tmp_path: Path):
    table = write_example("pad_ufes", tmp_path).read(ReadReport())
    assert table["lesion_id"].to_list() == ["PAT_1_7", "PAT_2_7"]
    assert table["skin_type"].fillna(0).to_list() == [0, 3]
    assert table["sex"].to_list() == ["unknown", "female"]


def test_a_row_without_a_lesion_number_is_a_lesion_of_its_own(tmp_path: Path):
    config = write_example("pad_ufes", tmp_path)
    header = example_of("pad_ufes").texts["metadata.csv"].partition("\n")[0]
    write(tmp_path, "metadata.csv", header + "\nPAT_1,,,8,,,ARM,NEV,PAT_1_7_5.png\n")
    assert config.read(ReadReport())["lesion_id"].to_list() == ["PAT_1_7_5"]


@pytest.mark.real
def test_real_pad_ufes_has_its_published_counts(tables: Path, tmp_path: Path):
    shutil.copy(tables / "PAD-UFES-20_metadata.csv", tmp_path)
    paint(tmp_path, "images/imgs_part_1/PAT_46_881_939.png")
    table = PadUfes(path=tmp_path).read(ReadReport())
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
    # without the patient there are 1,641 ids, of which 250 belong to two patients
    raw = pd.read_csv(tables / "PAD-UFES-20_metadata.csv")
    assert (raw["lesion_id"].nunique(), table["lesion_id"].nunique()) == (1_641, 1_891)
    assert (raw.groupby("lesion_id")["patient_id"].nunique() == 2).sum() == 250
    assert (raw.groupby("lesion_id")["diagnostic"].nunique() == 2).sum() == 226


# --- how a diagnosis was confirmed


def test_ham10000_says_how_a_diagnosis_was_confirmed(tmp_path: Path):
    table = write_example("ham10000", tmp_path).read(ReadReport())
    assert table["confirmation"].to_list() == ["histology"] * 3


def test_isic_says_how_a_diagnosis_was_confirmed(tmp_path: Path):
    text = (
        "isic_id,diagnosis,diagnosis_confirm_type\n"
        "ISIC_1,melanoma,histopathology\n"
        "ISIC_2,nevus,serial imaging showing no change\n"
        "ISIC_3,nevus,\n"
    )
    paint(write(tmp_path, "metadata.csv", text), "a/ISIC_1.jpg", "a/ISIC_2.jpg", "a/ISIC_3.jpg")
    table = Isic(path=tmp_path).read(ReadReport())
    assert table["confirmation"].to_list() == ["histology", "follow-up", "unknown"]


def test_a_data_set_that_does_not_say_how_a_diagnosis_was_confirmed_leaves_it_unknown(tmp_path: Path):
    table = write_example("pad_ufes", tmp_path).read(ReadReport())
    assert set(table["confirmation"]) == {"unknown"}
    assert failures(table).empty


# --- fitzpatrick17k


def test_fitzpatrick17k_takes_any_of_its_label_columns(tmp_path: Path):
    config = write_example("fitzpatrick17k", tmp_path)
    table = config.read(ReadReport())
    assert table["diagnosis"].to_list() == ["psoriasis", "mycosis fungoides"]
    assert table["skin_type"].fillna(0).to_list() == [3, 0]
    other = config.model_copy(update={"label": "three_partition_label", "skin_type": "fitzpatrick_centaur"}).read(
        ReadReport()
    )
    assert other["diagnosis"].to_list() == ["non-neoplastic", "malignant"]
    assert other["skin_type"].to_list() == [3, 6]


@pytest.mark.real
def test_real_fitzpatrick17k_has_its_published_counts(tables: Path, tmp_path: Path):
    shutil.copy(tables / "fitzpatrick17k.csv", tmp_path)
    paint(tmp_path, "images/5e82a45bc5d78bd24ae9202d194423f8.jpg")
    table = Fitzpatrick(path=tmp_path).read(ReadReport())
    assert len(table) == 16_577
    assert table["diagnosis"].nunique() == 114
    assert table["skin_type"].value_counts().to_dict() == {2: 4808, 3: 3308, 1: 2947, 4: 2781, 5: 1533, 6: 635}
    assert table["skin_type"].isna().sum() == 565
    assert failures(table).empty
    three = Fitzpatrick(path=tmp_path, label="three_partition_label").read(ReadReport())["diagnosis"]
    assert three.value_counts().to_dict() == {"non-neoplastic": 12_080, "malignant": 2_263, "benign": 2_234}


# --- derm7pt


def test_derm7pt_gives_one_of_the_two_images_of_a_case(tmp_path: Path):
    config = write_example("derm7pt", tmp_path)
    derm, clinic = config.read(ReadReport()), config.model_copy(update={"image": "clinic"}).read(ReadReport())
    assert derm["image_id"].to_list() == ["case_1_derm", "case_2_derm"]
    assert clinic["lesion_id"].to_list() == derm["lesion_id"].to_list() == ["case_1", "case_2"]
    assert derm["path"].to_list() == ["images/NEL/NEL025.jpg", "images/FBL/Fbl2.JPG"]
    assert clinic["path"].to_list() == ["images/NEL/NEL026.jpg", "images/FBL/Fbl1.jpg"]
    assert derm["site"].to_list() == ["posterior torso", "head/neck"]


# --- dermamnist


def small_dermamnist(root: Path, size: int = 64) -> DermaMnist:
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    arrays = {}
    for part, count in (("train", 5), ("val", 2), ("test", 3)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (count, size, size, 3), np.uint8)
        arrays[f"{part}_labels"] = np.arange(count, dtype=np.uint8)[:, None] + 2 * (part == "train")
    np.savez_compressed(root / ("dermamnist.npz" if size == 28 else f"dermamnist_{size}.npz"), **arrays)
    return DermaMnist(path=root, size=size)


@pytest.mark.parametrize("size", [28, 64, 128, 224])
def test_dermamnist_is_read_at_every_size_under_the_same_names(tmp_path: Path, size):
    config = small_dermamnist(tmp_path, size)
    table = config.read(ReadReport())
    assert table["image_id"].to_list()[4:8] == ["train_00004", "val_00000", "val_00001", "test_00000"]
    assert table["diagnosis"].to_list()[:6] == ["bkl", "df", "mel", "nv", "vasc", "akiec"]
    name = "dermamnist.npz" if size == 28 else f"dermamnist_{size}.npz"
    with np.load(tmp_path / name) as arrays:
        for path, pixel in zip(table["path"][5:7], arrays["val_images"], strict=True):
            assert np.array_equal(read_pixels_of(tmp_path, path), pixel)


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
        DermaMnist(path=tmp_path, size=64).read(ReadReport())


def test_a_size_that_is_not_there_is_named(tmp_path: Path):
    small_dermamnist(tmp_path, 28)
    with pytest.raises(DataError, match=r"dermamnist_224.npz is missing; put .* or set dataset.size"):
        DermaMnist(path=tmp_path).read(ReadReport())
