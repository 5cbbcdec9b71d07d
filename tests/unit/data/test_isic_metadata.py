"""Tables of lesions and metadata beside a table of ISIC, as people have them: joined, or named and refused."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import DataError
from components.data.adapters.isic import Config as Isic
from components.data.ids import NO_IDS
from components.data.read_report import ReadReport
from components.data.splits import group_rows, split_table
from tests.unit.data.example_data import paint, write

COUNT = 168  # images, of 84 lesions
NAMES = [f"ISIC_{24_306 + place:07d}" for place in range(COUNT)]
KINDS = ("MEL", "NV", "BCC")


def truth(names: list[str], separator: str = ",") -> str:
    """Three classes; the two images of a lesion are of one class."""
    marks = [[str(float(place // 2 % 3 == kind)) for kind in range(3)] for place in range(len(names))]
    rows = [separator.join([name, *cells]) for name, cells in zip(names, marks, strict=True)]
    return "\n".join([separator.join(["image", *KINDS]), *rows, ""])


def metadata(names: list[str], separator: str = ",", key: str = "image") -> str:
    rows = [separator.join([name, "55.0", "head/neck", f"BCN_{place // 2}"]) for place, name in enumerate(names)]
    return "\n".join([separator.join([key, "age_approx", "anatom_site_general", "lesion_id"]), *rows, ""])


def read(root: Path, **settings: object) -> tuple[pd.DataFrame, ReadReport]:
    paint(root, "images/ISIC_0024306.jpg")
    report = ReadReport()
    return Isic.model_validate({"path": root, **settings}).read(report), report


def lesions_on_two_sides(table: pd.DataFrame) -> int:
    """Lesions, known from the images' numbers, with images on two sides of a split of this table."""
    accepted = table.assign(label=table["diagnosis"], sha256=table["image_id"], twins=None)
    split = split_table(
        accepted, KINDS, ["patient_id", "lesion_id"], {"train": 0.7, "val": 0.15, "test": 0.15}, 0
    ).set_index("image_id")["split"]
    number = split.index.str.extract(r"([0-9]{7})", expand=False).astype("int64") - 24_306
    return int((split.groupby(number // 2).nunique() > 1).sum())


SPELLINGS = {
    "equal": lambda name: name,
    "suffix": lambda name: f"{name}.jpg",
    "downsampled": lambda name: f"{name}_downsampled",
    "case and dash": lambda name: name.lower().replace("_", "-"),
    "numbers": lambda name: str(int(name[5:])),
    "blank": lambda name: f"{name} ",
}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_lesion_is_on_two_sides_however_the_metadata_spell_an_image(tmp_path: Path, spelling, separator):
    write(tmp_path, "gt.csv", truth(NAMES))
    write(tmp_path, "md.csv", metadata([SPELLINGS[spelling](name) for name in NAMES], separator))
    table, report = read(tmp_path)
    assert [(join.table, join.matched, join.rows) for join in report.joins] == [("md.csv", COUNT, COUNT)]
    assert table["lesion_id"].nunique() == 84
    assert table["age"].to_list() == [55.0] * COUNT
    assert lesions_on_two_sides(table) == 0


def test_without_lesion_ids_lesions_are_divided_and_it_is_said(tmp_path: Path):
    write(tmp_path, "gt.csv", truth(NAMES))
    table, report = read(tmp_path)
    assert lesions_on_two_sides(table) > 10
    assert [each.message for each in report.warnings] == [NO_IDS]


def test_metadata_about_other_images_stop_it(tmp_path: Path):
    write(tmp_path, "gt.csv", truth(NAMES))
    write(tmp_path, "md.csv", metadata([f"MSK_{place}" for place in range(50)]))
    with pytest.raises(
        DataError, match=r"md.csv: 0 of 168 images matched; expected at least 90% \(dataset.min_matched"
    ):
        read(tmp_path)
    table, _ = read(tmp_path, min_matched=0)
    assert table["lesion_id"].nunique() == COUNT


def test_metadata_of_the_test_part_beside_those_of_training_are_named_and_not_used(tmp_path: Path):
    """As ISIC 2019 is published; there, the metadata of the test part name no lesions."""
    write(tmp_path, "ISIC_2019_Training_GroundTruth.csv", truth(NAMES))
    write(tmp_path, "ISIC_2019_Training_Metadata.csv", metadata([*NAMES, "ISIC_0090000"]))
    write(tmp_path, "ISIC_2019_Test_Metadata.csv", "image,age_approx,anatom_site_general,sex\nISIC_0090001,5,,male\n")
    with pytest.raises(DataError, match=r"ISIC_2019_Test_Metadata.csv: 0 of 168 images matched.* sex would be lost"):
        read(tmp_path)  # only that table has sex
    write(tmp_path, "ISIC_2019_Test_Metadata.csv", "image,age_approx,anatom_site_general\nISIC_0090001,5,\n")
    table, report = read(tmp_path)
    assert table["lesion_id"].nunique() == 84
    assert [each.message for each in report.warnings] == [
        "ISIC_2019_Test_Metadata.csv is about other images: 0 of 168 matched; it is not used"
    ]


def test_groupings_of_2018_are_shared_by_several_tables_of_images(tmp_path: Path):
    write(tmp_path, "ISIC2018_Task3_Training_GroundTruth.csv", truth(NAMES[:100]))
    write(tmp_path, "ISIC2018_Task3_Validation_GroundTruth.csv", truth(NAMES[100:]))
    write(tmp_path, "ISIC2018_Task3_Training_LesionGroupings.csv", metadata(NAMES[:100]))
    write(tmp_path, "more/groupings.csv", metadata(NAMES))
    names = [f"ISIC2018_Task3_{part}_GroundTruth.csv" for part in ("Training", "Validation")]
    table, report = read(tmp_path, tables=names)
    assert table["lesion_id"].nunique() == 84
    assert [(join.matched, join.rows) for join in report.joins] == [(100, 168), (168, 168)]


def test_a_copy_of_a_table_is_read_once(tmp_path: Path):
    for name in ("gt.csv", "gt (1).csv", "Kopie von gt.csv"):
        write(tmp_path, name, truth(NAMES))
    for name in ("md.csv", "md (1).csv"):
        write(tmp_path, name, metadata(NAMES))
    table, report = read(tmp_path)
    assert (len(table), table["lesion_id"].nunique()) == (COUNT, 84)
    assert [each.file for each in report.tables] == ["gt.csv", "md.csv"]
    assert [each.kind for each in report.warnings] == ["same_table"] * 3


def test_names_of_columns_may_be_in_another_case_with_blanks(tmp_path: Path):
    write(tmp_path, "gt.csv", truth(NAMES))
    text = metadata(NAMES).replace("lesion_id", "Lesion ID").replace("image,", "Image,").replace("age_", "Age_")
    write(tmp_path, "md.csv", text)
    table, _ = read(tmp_path)
    assert (table["lesion_id"].nunique(), table["age"].notna().sum()) == (84, COUNT)


def test_a_table_without_an_id_of_images_and_one_that_is_no_table_are_named(tmp_path: Path):
    write(tmp_path, "gt.csv", truth(NAMES))
    write(tmp_path, "patients.csv", "patient_id,sex\nP1,male\n")
    (tmp_path / "broken.xlsx").write_bytes(b"PK\3\4nothing")
    (tmp_path / "empty.csv").write_bytes(b"")
    write(tmp_path, "README.txt", "Thank you, dear user; see isic-archive.com for more, and more.\n")
    write(tmp_path, "LICENSE.txt", "CC BY-NC\n")
    _, report = read(tmp_path)
    found = {each.kind: each.message for each in report.warnings}
    assert found["not_joined"] == "patients.csv has patient_id, sex, but no id of an image; it is not used"
    unread = [each.message for each in report.warnings if each.kind == "unread_tables"]
    assert [message.partition(" ")[0] for message in unread] == ["broken.xlsx", "empty.csv"]


def test_metadata_in_an_encoding_that_is_not_sure_are_named(tmp_path: Path):
    write(tmp_path, "gt.csv", truth(NAMES))
    (tmp_path / "md.csv").write_bytes("image,lesion_id\nISIC_0024306,L\n".encode("utf-16"))
    assert read(tmp_path, min_matched=0)[0]["lesion_id"][0] == "L"
    (tmp_path / "md.csv").write_bytes(metadata(NAMES).encode("utf-16-le").replace(b"i\0", b"i\0\xd8", 1))
    table, report = read(tmp_path)
    assert table["lesion_id"].nunique() == COUNT
    assert "unread_tables" in {each.kind for each in report.warnings}


def test_metadata_beside_a_table_of_2020_add_its_lesions(tmp_path: Path):
    """The first edition of ISIC 2020 names no lesions."""
    rows = "".join(
        f"{name},IP_{place // 2},{('nevus', 'melanoma')[place % 2]},benign\n" for place, name in enumerate(NAMES)
    )
    write(tmp_path, "train.csv", f"image_name,patient_id,diagnosis,benign_malignant\n{rows}")
    write(tmp_path, "lesions.csv", metadata(NAMES, key="image_name"))
    table, report = read(tmp_path)
    assert table["lesion_id"].nunique() == 84
    assert table["patient_id"].nunique() == 84
    assert [(join.table, join.matched) for join in report.joins] == [("lesions.csv", COUNT)]


@pytest.mark.parametrize("case", ["isic-metadata-semicolon", "isic-metadata-with-suffix", "isic-index-column"])
def test_the_tables_that_people_have_give_their_lesions(cases: Path, tmp_path: Path, case):
    for file in (cases / case).iterdir():
        write(tmp_path, file.name, file.read_text())
    table, report = read(tmp_path)
    join = report.joins[0]
    assert join.matched == join.rows == len(table)
    assert table["lesion_id"].nunique() == (len(table) + 1) // 2
    assert table["age"].notna().all()
    groups = group_rows(table.assign(sha256=None), ["patient_id", "lesion_id"])
    assert (groups.groupby(table["lesion_id"]).nunique() == 1).all()
