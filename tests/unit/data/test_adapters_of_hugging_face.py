"""The adapters webdataset, huggingface and imagefolder: layouts, odd cases, and what is counted."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.base.errors import DataError
from components.data.adapters.huggingface import Config as HuggingFace
from components.data.adapters.imagefolder import Config as ImageFolder
from components.data.adapters.webdataset import Config as WebDataset
from components.data.read_report import ReadReport
from components.data.sources import read_bytes
from tests.unit.data.example_data import drawn, pack, paint, write, write_example, write_rows


def read(config: Any, report: ReadReport | None = None) -> pd.DataFrame:
    return config.read(report if report is not None else ReadReport())


def warned(report: ReadReport) -> dict[str, int]:
    return {
        warning.kind: warning.count for warning in report.warnings if warning.kind not in ("no_ids", "partly_known_ids")
    }


# --- webdataset


def test_webdataset_joins_the_files_of_a_sample(tmp_path: Path):
    table = read(write_example("webdataset", tmp_path))
    assert table["path"].to_list() == ["train-000000.tar/0.jpg", "train-000000.tar/1.jpg", "train-000001.tar/0.jpg"]
    assert table["diagnosis"].to_list() == ["nv", "mel", "nv"]
    assert table["patient_id"].to_list() == ["P1", "P2", "P1"]
    assert table["age"].fillna(-1).to_list() == [45.0, -1.0, 46.0]


def test_webdataset_names_end_at_the_first_dot_and_folders_belong_to_them(tmp_path: Path):
    members = {
        "./a.b/7.left.png": drawn(0), "a.b/7.txt": b"mel", "c/7.left.png": drawn(1), "c/7.txt": "nävus".encode(),
        "c/8.left.png": drawn(2),
    }  # fmt: skip
    pack(tmp_path / "shards/0.TAR".replace("TAR", "tar"), members)
    table = read(WebDataset(path=tmp_path, columns={"diagnosis": "txt"}))
    assert table["path"].to_list() == [
        "shards/0.tar/a.b/7.left.png",
        "shards/0.tar/c/7.left.png",
        "shards/0.tar/c/8.left.png",
    ]
    assert table["diagnosis"].fillna("-").to_list() == ["mel", "nävus", "-"]


def test_webdataset_reads_nested_keys_of_json_and_ids(tmp_path: Path):
    label = {"dx": "mel", "who": {"patient": 7.0}, "id": "A"}
    pack(tmp_path / "0.tar", {"1.jpg": drawn(0), "1.json": json.dumps(label).encode(), "2.jpg": drawn(1)})
    columns = {"diagnosis": "dx", "patient_id": "who.patient", "image_id": "id"}
    table = read(WebDataset(path=tmp_path, columns=columns))
    assert table.loc[0, ["image_id", "diagnosis", "patient_id"]].to_list() == ["A", "mel", "7"]
    assert table["path"].to_list() == ["0.tar/1.jpg", "0.tar/2.jpg"]


def test_webdataset_with_two_images_a_sample_asks_which_one_counts(tmp_path: Path):
    pack(tmp_path / "0.tar", {"1.jpg": drawn(0), "1.png": drawn(1, "PNG"), "1.cls": b"0", "1.seg.png": drawn(2, "PNG")})
    with pytest.raises(
        DataError, match=r"0.tar: a sample has 2 images, jpg, png; name the one that counts as dataset.image"
    ):
        read(WebDataset(path=tmp_path))
    assert read(WebDataset(path=tmp_path, image="seg.png"))["path"].to_list() == ["0.tar/1.seg.png"]


def test_webdataset_counts_what_has_no_image_or_no_name(tmp_path: Path):
    pack(tmp_path / "0.tar", {"1.jpg": drawn(0), "1.cls": b"3", "2.cls": b"0", "README": b"x"})
    report = ReadReport()
    table = read(WebDataset(path=tmp_path), report)
    assert table["diagnosis"].to_list() == ["3"]
    assert warned(report) == {"samples_without_image": 1, "nameless_members": 1}


@pytest.mark.parametrize(
    ("members", "settings", "message"),
    [
        (
            {"1.jpg": b"x", "1.cls": b"5"},
            {"names": ("a", "b")},
            r"dataset.names .* has 2 diagnoses, for the numbers 0 to 1",
        ),
        ({"1.jpg": b"x", "1.json": b"{"}, {"columns": {"diagnosis": "dx"}}, r"0.tar: a sample's json is no JSON"),
        ({"1.jpg": b"x", "1.json": b'{"dx": [1]}'}, {"columns": {"diagnosis": "dx"}}, r"'dx' of a sample is a list"),
        ({"1.jpg": b"x", "1.cls": b"\xff\xfe"}, {}, r"'cls' of a sample is no text in UTF-8"),
        ({"1.jpg": b"x", "1.txt": b"mel"}, {}, r"no sample has a value for diagnosis: cls"),
        ({"1.cls": b"1"}, {}, r"none of 1 samples has an image"),
    ],
)
def test_webdataset_says_what_is_wrong(tmp_path: Path, members, settings, message):
    pack(tmp_path / "0.tar", members)
    with pytest.raises(DataError, match=message):
        read(WebDataset(path=tmp_path, **settings))


def test_webdataset_says_how_a_compressed_shard_is_unpacked(tmp_path: Path):
    with tarfile.open(tmp_path / "0.tar.gz", "w:gz") as tar:
        tar.add(paint(tmp_path / "x", "1.jpg") / "1.jpg", "1.jpg")
    with pytest.raises(DataError, match=r"0.tar.gz is compressed: make it an uncompressed .tar \(zcat"):
        read(WebDataset(path=tmp_path))


# --- huggingface

IMAGES = [{"image": {"bytes": None, "path": f"{number}.jpg"}, "label": number % 2} for number in range(3)]
CLASSES = {"names": ["mel", "nv"], "_type": "ClassLabel"}
FEATURES = {"features": {"image": {"_type": "Image"}, "label": CLASSES}}


def test_huggingface_reads_names_of_classes_from_readme(tmp_path: Path):
    table = read(write_example("huggingface", tmp_path))
    assert table["path"].to_list() == [
        "data/test-00000-of-00001.parquet/0", *(f"data/train-00000-of-00001.parquet/{row}" for row in range(3))
    ]  # fmt: skip
    assert table["diagnosis"].fillna("-").to_list() == ["nv", "nv", "mel", "-"]  # -1: the label is hidden
    assert table["patient_id"].to_list() == ["P3", "P1", "P2", "P2"]


def test_huggingface_reads_one_split_where_its_files_are_named(tmp_path: Path):
    config = write_example("huggingface", tmp_path, files="data/train-*.parquet")
    assert len(read(config)) == 3


@pytest.mark.parametrize("where", ["schema", "dataset_info.json", "dataset_infos.json", "nowhere"])
def test_huggingface_finds_names_of_classes_where_datasets_writes_them(tmp_path: Path, where):
    metadata = {"huggingface": json.dumps({"info": FEATURES})} if where == "schema" else None
    write_rows(tmp_path / "train/data-00000-of-00001.arrow", IMAGES, metadata)
    if where == "dataset_info.json":
        write(tmp_path, "train/dataset_info.json", json.dumps(FEATURES))
    if where == "dataset_infos.json":
        write(tmp_path, "dataset_infos.json", json.dumps({"default": FEATURES}))
    table = read(HuggingFace(path=tmp_path))
    assert table["path"].to_list() == [f"train/data-00000-of-00001.arrow/{row}" for row in range(3)]
    assert table["diagnosis"].to_list() == (["0", "1", "0"] if where == "nowhere" else ["mel", "nv", "mel"])


def test_huggingface_refuses_names_of_classes_that_contradict(tmp_path: Path):
    write_rows(tmp_path / "a.parquet", IMAGES)
    for place, names in (("a", ["mel", "nv"]), ("b", ["nv", "mel"])):
        write(
            tmp_path,
            f"{place}/dataset_info.json",
            json.dumps({"features": {"label": {"names": names, "_type": "ClassLabel"}}}),
        )
    with pytest.raises(DataError, match=r"state the classes of 'label' in 2 ways"):
        read(HuggingFace(path=tmp_path))


def test_huggingface_takes_text_labels_as_they_are(tmp_path: Path):
    write_rows(tmp_path / "a.parquet", [{**row, "label": "nävus", "age": 30.0} for row in IMAGES])
    table = read(HuggingFace(path=tmp_path, columns={"diagnosis": "label", "age": "age"}))
    assert set(table["diagnosis"]) == {"nävus"} and set(table["age"]) == {30.0}


@pytest.mark.parametrize("form", ["text", "struct"])
def test_huggingface_never_fetches_an_address(tmp_path: Path, form):
    address = "https://example.org/a.jpg"
    image = address if form == "text" else {"bytes": b"", "path": address}
    rows = [{"image": image, "label": 0}, {"image": image if form == "text" else {"path": address}, "label": 1}]
    write_rows(tmp_path / "a.parquet", rows)
    with pytest.raises(DataError, match=r"images are addresses in a network, which are never fetched"):
        read(HuggingFace(path=tmp_path, image="image"))


def test_huggingface_takes_files_that_lie_beside_the_table(tmp_path: Path):
    paint(tmp_path, "images/b.jpg")
    rows = [{"image": {"bytes": drawn(1), "path": "a.jpg"}, "label": 0},
            {"image": {"path": "images/b.jpg"}, "label": 1},
            {"image": {"path": "/home/x/c.jpg"}, "label": 1}]  # fmt: skip
    write_rows(tmp_path / "a.parquet", rows)
    report = ReadReport()
    table = read(HuggingFace(path=tmp_path), report)
    assert table["path"].to_list() == ["a.parquet/0", "images/b.jpg", "/home/x/c.jpg"]
    assert warned(report)["rows_without_image"] == 1


@pytest.mark.parametrize(
    ("rows", "settings", "message"),
    [
        ([{"text": "a"}], {}, r"1 tables without a column of images"),
        (IMAGES, {"columns": {"diagnosis": "dx"}}, r"a.parquet: lacks the columns dx"),
        (
            [{**IMAGES[0], "mask": {"bytes": b"x", "path": None}}],
            {},
            r"has 2 columns of images; name one as dataset.image",
        ),
        ([{**IMAGES[0], "label": [1, 2]}], {}, r"the column 'label' .*expected text or numbers"),
        (IMAGES, {"files": "*.arrow"}, r"no .parquet or .arrow file at dataset.files"),
    ],
)
def test_huggingface_says_what_is_wrong(tmp_path: Path, rows, settings, message):
    write_rows(tmp_path / "a.parquet", rows)
    with pytest.raises(DataError, match=message):
        read(HuggingFace(path=tmp_path, **settings))


def test_huggingface_names_the_table_that_is_damaged(tmp_path: Path):
    file = write_rows(tmp_path / "a.parquet", IMAGES)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match=r"a.parquet: is not an intact parquet file"):
        read(HuggingFace(path=tmp_path))


def test_huggingface_reads_a_column_of_plain_bytes_that_is_named(tmp_path: Path):
    write_rows(tmp_path / "a.parquet", [{"jpeg": drawn(number), "label": "nv"} for number in range(3)])
    table = read(HuggingFace(path=tmp_path, image="jpeg"))
    assert [read_bytes(tmp_path, path) for path in table["path"]] == [drawn(number) for number in range(3)]


# --- imagefolder


def test_imagefolder_names_files_relative_to_their_metadata(tmp_path: Path):
    table = read(write_example("imagefolder", tmp_path)).set_index("path")
    assert table["diagnosis"].to_dict() == {"test/1.jpg": "nv", "train/1.jpg": "nv", "train/more/2.jpg": "mel"}
    assert table["patient_id"].to_dict() == {"test/1.jpg": "P3", "train/1.jpg": "P1", "train/more/2.jpg": "P2"}


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_imagefolder_reads_json_lines_and_parquet(tmp_path: Path, form):
    rows = [{"file_name": "a.jpg", "label": "nv", "age": 45.0}, {"file_name": "b.jpg", "label": "übrige", "age": None}]
    if form == "parquet":
        write_rows(tmp_path / "metadata.parquet", rows)
    else:
        write(tmp_path, "metadata.jsonl", "\n".join(json.dumps(row) for row in rows) + "\n\n")
    paint(tmp_path, "a.jpg", "b.jpg")
    report = ReadReport()
    table = read(ImageFolder(path=tmp_path, columns={"diagnosis": "label", "age": "age"}), report)
    assert table["path"].to_list() == ["a.jpg", "b.jpg"]
    assert table["diagnosis"].to_list() == ["nv", "übrige"]
    assert table["age"].fillna(-1).to_list() == [45.0, -1.0]
    assert [(read_.file, read_.rows) for read_ in report.tables] == [(f"metadata.{form}", 2)]


def test_imagefolder_without_metadata_takes_the_folder_as_diagnosis(tmp_path: Path):
    paint(tmp_path, "train/nv/a.jpg", "train/mel/b.jpg", "test/nv/c.jpg")
    pack(tmp_path / "train/bcc.tar", {"d.jpg": drawn(3)})
    table = read(ImageFolder(path=tmp_path)).set_index("path")
    assert table["diagnosis"].to_dict() == {
        "test/nv/c.jpg": "nv", "train/bcc.tar/d.jpg": "bcc", "train/mel/b.jpg": "mel", "train/nv/a.jpg": "nv"
    }  # fmt: skip


def test_imagefolder_metadata_can_leave_the_diagnosis_to_the_folder(tmp_path: Path):
    paint(tmp_path, "nv/a.jpg", "mel/b.jpg")
    write(tmp_path, "metadata.csv", "file_name,patient\nnv/a.jpg,P1\nmel\\b.jpg,P2\n")
    table = read(ImageFolder(path=tmp_path, columns={"patient_id": "patient"}))
    assert table[["path", "diagnosis", "patient_id"]].to_numpy().tolist() == [
        ["nv/a.jpg", "nv", "P1"],
        ["mel/b.jpg", "mel", "P2"],
    ]
    with pytest.raises(DataError, match=r"has no column 'label'; name the column .* or set dataset.columns without"):
        read(ImageFolder(path=tmp_path))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metadata.jsonl", '{"file_name": "a.jpg", "label": "nv"}\n{"file_name"', r"metadata.jsonl: line 2 is no JSON"),
        ("metadata.jsonl", '["a.jpg"]', r"line 1 is no JSON object"),
        ("metadata.jsonl", '{"file_name": ["a.jpg"], "label": "nv"}', r"line 1: 'file_name' is a list"),
        ("metadata.jsonl", '{"name": "a.jpg", "label": "nv"}', r"no line has a value for file_name"),
        ("metadata.csv", "name,label\na.jpg,nv\n", r"lacks 1 of the expected columns: file_name"),
        ("metadata.csv", "file_name,label\nhttps://example.org/a.jpg,nv\n", r"1 images are addresses in a network"),
    ],
)
def test_imagefolder_says_what_is_wrong(tmp_path: Path, name, text, message):
    paint(tmp_path, "a.jpg")
    write(tmp_path, name, text)
    with pytest.raises(DataError, match=message):
        read(ImageFolder(path=tmp_path))
