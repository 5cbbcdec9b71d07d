"""Adapters of the synthetic set, HAM10000 and plain folders: layouts, ids and missing files."""

import re
import tarfile
from pathlib import Path

import pytest
from pydantic import ValidationError

from components.base.errors import DataError
from components.data.adapters.folder import Config as Folder
from components.data.adapters.ham10000 import Config as Ham10000
from components.data.adapters.synthetic import Config as Synthetic
from components.data.file_tree import list_images
from components.data.labels import Labels
from components.data.read_report import ReadReport
from components.data.records import apply_labels, failures
from components.synthetic.dataset import draw_dataset

HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"
LABELS = Labels(scheme="two", schemes={"two": {"benign": ("nv",), "malignant": ("mel",)}})


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def ham(root: Path, rows: str, *images: str) -> Ham10000:
    touch(root, *images)
    (root / "HAM10000_metadata.csv").write_text(HEADER + rows)
    return Ham10000(path=root)


def test_the_synthetic_set_reads_as_it_was_drawn(tmp_path: Path):
    drawn = draw_dataset(
        tmp_path / "set", lesions=5, unlabelled=3, image_size=32, images_per_lesion=1.4, confounding=0.6,
        difficulty=0.4, seed=7,
    )  # fmt: skip
    table = Synthetic(path=tmp_path / "set").read(ReadReport())
    assert failures(table).empty
    assert set(table["source"]) == {"SYNTHETIC"}
    for name in ("image_id", "path", "lesion_id", "patient_id", "age", "sex", "site", "skin_type"):
        assert table[name].to_list() == pytest.approx(drawn[name].to_list(), nan_ok=True), name
    assert table["diagnosis"].isna().sum() == 3
    assert list_images(tmp_path / "set") == sorted(table["path"])


def test_a_synthetic_set_that_was_never_drawn_says_how_to_draw_it(tmp_path: Path):
    with pytest.raises(DataError, match=r"metadata.csv is missing; set dataset.path to paths.synthetic"):
        Synthetic(path=tmp_path).read(ReadReport())


def test_a_synthetic_table_without_a_column_is_refused(tmp_path: Path):
    (tmp_path / "metadata.csv").write_text("image_id,path\na,b\n")
    with pytest.raises(DataError, match=r"lacks 7 of the expected columns: diagnosis, lesion_id, "):
        Synthetic(path=tmp_path).read(ReadReport())


def test_ham10000_reads_both_layouts(tmp_path: Path):
    rows = (
        "L1,ISIC_1,nv,histo,45.0,male,back\nL1,ISIC_2,nv,histo,45.0,male,back\nL2,ISIC_3,mel,histo,,unknown,unknown\n"
    )
    parts = "HAM10000_images_part_1/ISIC_1.jpg", "HAM10000_images_part_2/ISIC_2.jpg", "images/ISIC_3.jpg"
    table = ham(tmp_path, rows, *parts).read(ReadReport())
    assert table["path"].to_list() == list(parts)
    assert table["lesion_id"].to_list() == ["L1", "L1", "L2"]
    assert table["patient_id"].isna().all()
    assert table["age"].isna().to_list() == [False, False, True]
    assert table.loc[2, ["sex", "site"]].to_list() == ["unknown", "unknown"]
    assert failures(table).empty


def test_of_ham10000s_copies_the_known_folders_count(tmp_path: Path):
    parts = "HAM10000_images_part_1/ISIC_1.jpg", "ham10000_images_part_1/ISIC_1.jpg"  # as Kaggle's archive has them
    assert ham(tmp_path, "L1,ISIC_1,nv,h,1,male,back\n", *parts).read(ReadReport())["path"].to_list() == [parts[0]]


def test_a_row_without_an_image_keeps_its_place_and_an_image_without_a_row_is_found(tmp_path: Path):
    table = ham(tmp_path, "L1,ISIC_1,nv,histo,45.0,male,back\n", "images/ISIC_9.jpg").read(ReadReport())
    assert table["path"].to_list() == ["images/ISIC_1.jpg"]
    assert set(list_images(tmp_path)) - set(table["path"]) == {"images/ISIC_9.jpg"}


def test_duplicate_ids_survive_reading_and_are_found_after(tmp_path: Path):
    table = ham(tmp_path, "L1,ISIC_1,nv,h,1,male,back\nL2,ISIC_1,mel,h,1,male,back\n", "images/ISIC_1.jpg").read(
        ReadReport()
    )
    assert len(table) == 2
    assert set(failures(table)["rule"]) == {"image_id.unique"}


def test_an_id_that_climbs_out_of_the_folder_is_found(tmp_path: Path):
    table = ham(tmp_path, "L1,../../x,nv,histo,1,male,back\n", "images/ISIC_1.jpg").read(ReadReport())
    assert failures(table)["rule"].to_list() == ["path.inside"]


@pytest.mark.parametrize(
    ("rows", "images", "message"),
    [
        (None, ["images/a.jpg"], r"HAM10000_metadata.csv is missing; put HAM10000_metadata.csv there"),
        (HEADER, [], r"dataset.path = .*: no image there; put the images into .*images"),
        (
            "image_id,dx\na,nv\n",
            ["images/a.jpg"],
            r"lacks 4 of the expected columns: lesion_id, age, sex, localization;",
        ),
        (
            HEADER + "L,a,nv,h,old,male,back\n",
            ["images/a.jpg"],
            r"1 rows whose age is not a number; .*\(first a: 'old'\)",
        ),
        ("", ["images/a.jpg"], r"HAM10000_metadata.csv: is empty, expected a first line with the names"),
    ],
)
def test_ham10000_says_what_is_missing(tmp_path: Path, rows, images, message):
    touch(tmp_path, *images)
    if rows is not None:
        (tmp_path / "HAM10000_metadata.csv").write_text(rows)
    with pytest.raises(DataError) as caught:
        Ham10000(path=tmp_path).read(ReadReport())
    assert re.search(message, caught.value.complete)


@pytest.mark.real
def test_real_ham10000_has_its_published_counts(ham10000: Path):
    table = Ham10000(path=ham10000).read(ReadReport())
    assert table["diagnosis"].value_counts().to_dict() == {
        "nv": 6705, "mel": 1113, "bkl": 1099, "bcc": 514, "akiec": 327, "vasc": 142, "df": 115,
    }  # fmt: skip
    assert len(table) == 10_015
    assert table["lesion_id"].nunique() == 7_470
    assert table["age"].isna().sum() == 57
    assert (table["sex"] == "unknown").sum() == 57
    assert (table["site"] == "unknown").sum() == 234
    assert table["site"].value_counts().to_dict() == {
        "lower extremity": 2396, "posterior torso": 2192, "anterior torso": 1429, "torso": 1404,
        "upper extremity": 1208, "head/neck": 1097, "unknown": 234, "oral/genital": 48, "palms/soles": 7,
    }  # fmt: skip
    assert failures(table).empty
    assert set(list_images(ham10000)) == set(table["path"])


def test_a_folders_subfolders_are_its_diagnoses(tmp_path: Path):
    table = Folder(path=touch(tmp_path, "nv/a.jpg", "nv/deep/a.jpg", "mel/b.png", "unlabelled/c.jpg")).read(
        ReadReport()
    )
    assert dict(zip(table["image_id"], table["diagnosis"].fillna("-"), strict=True)) == {
        "mel/b.png": "mel", "nv/a.jpg": "nv", "nv/deep/a.jpg": "nv", "unlabelled/c.jpg": "-",
    }  # fmt: skip
    assert table["lesion_id"].to_list() == table["image_id"].to_list()
    assert failures(table).empty


def test_lesion_and_patient_come_from_the_file_name(tmp_path: Path):
    touch(tmp_path, "nv/p1_l1_1.jpg", "nv/p1_l1_2.jpg", "mel/p1_l2_1.jpg")
    table = Folder(path=tmp_path, lesion_pattern=r"^(p\d+_l\d+)_", patient_pattern=r"^(p\d+)_").read(ReadReport())
    assert table.set_index("path")["lesion_id"].to_dict() == {
        "mel/p1_l2_1.jpg": "p1_l2", "nv/p1_l1_1.jpg": "p1_l1", "nv/p1_l1_2.jpg": "p1_l1",
    }  # fmt: skip
    assert set(table["patient_id"]) == {"p1"}


def test_a_file_name_that_the_pattern_misses_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"dataset.lesion_pattern = .* does not match 1 file names") as error:
        Folder(path=touch(tmp_path, "nv/l1_a.jpg", "nv/x.jpg"), lesion_pattern="^(l[0-9]+)_").read(ReadReport())
    assert error.value.words == "first 'x.jpg'"


@pytest.mark.parametrize(("pattern", "message"), [("(", "no regular expression"), ("a", "has 0 groups, expected one")])
def test_a_pattern_without_exactly_one_group_is_refused(tmp_path: Path, pattern, message):
    with pytest.raises(ValidationError, match=message):
        Folder(path=tmp_path, lesion_pattern=pattern)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["nv/notes.txt"], "no image in any subfolder; expected one subfolder per diagnosis"),
        (["nv/a.jpg", "b.jpg"], "1 images lie in no subfolder"),
    ],
)
def test_a_folder_of_another_layout_is_refused(tmp_path: Path, files, message):
    with pytest.raises(DataError, match=message):
        Folder(path=touch(tmp_path, *files)).read(ReadReport())


def test_a_shard_stands_for_the_folder_it_was_packed_from(tmp_path: Path):
    touch(tmp_path, "nv/a.jpg")
    for shard, member in (("mel.tar", "b.jpg"), ("shards/000.tar", "bcc/deep/c.jpg"), ("df/0.tar", "d.jpg")):
        (tmp_path / shard).parent.mkdir(exist_ok=True)
        with tarfile.open(tmp_path / shard, "w") as tar:
            tar.addfile(tarfile.TarInfo(member))
    table = Folder(path=tmp_path).read(ReadReport())
    assert table.set_index("path")["diagnosis"].to_dict() == {
        "df/0.tar/d.jpg": "df", "mel.tar/b.jpg": "mel", "nv/a.jpg": "nv", "shards/000.tar/bcc/deep/c.jpg": "shards",
    }  # fmt: skip


def test_reading_labels_needs_no_image_to_be_opened(tmp_path: Path):
    table = apply_labels(Folder(path=touch(tmp_path, "nv/a.jpg")).read(ReadReport()), LABELS.mapping)
    assert table["label"].to_list() == ["benign"]


def test_folders_of_a_split_are_no_diagnoses(tmp_path: Path):
    """DermNet's copies: train/CLASS/image.jpg and test/CLASS/image.jpg."""
    touch(tmp_path, "train/Acne and Rosacea/a.jpg", "test/Acne and Rosacea/b.jpg", "train/Eczema/c.jpg")
    table = Folder(path=tmp_path, parts=("train", "test")).read(ReadReport())
    assert dict(zip(table["path"], table["diagnosis"], strict=True)) == {
        "test/Acne and Rosacea/b.jpg": "Acne and Rosacea",
        "train/Acne and Rosacea/a.jpg": "Acne and Rosacea",
        "train/Eczema/c.jpg": "Eczema",
    }
    assert set(Folder(path=tmp_path).read(ReadReport())["diagnosis"]) == {"train", "test"}


def test_an_image_that_lies_in_a_part_alone_has_no_diagnosis(tmp_path: Path):
    touch(tmp_path, "train/a.jpg", "train/nv/b.jpg")
    with pytest.raises(DataError, match=r"1 images lie in no subfolder"):
        Folder(path=tmp_path, parts=("train",)).read(ReadReport())
