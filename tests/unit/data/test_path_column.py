"""Paths and names of tables from other systems, and what is said of those that no file has."""

from __future__ import annotations

import shutil
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.adapters.derm7pt import Config as Derm7pt
from components.data.adapters.folder import Config as Folder
from components.data.adapters.ham10000 import Config as Ham10000
from components.data.adapters.table import Config as Table
from components.data.labels import Labels
from components.data.path_column import is_absolute, resolve_paths
from components.data.read_report import ReadReport
from components.data.records import apply_labels, failures
from components.data.sources import find_images, locate, read_bytes
from tests.unit.data.shards import pack_tar

NFC, NFD = "NFC", "NFD"


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def resolve(root: Path, *paths: str, **settings: dict[str, str]) -> list[str]:
    return resolve_paths(paths, root, ReadReport(), **settings)


@pytest.mark.parametrize(("in_table", "on_disk"), [(NFC, NFD), (NFD, NFC)])
def test_names_are_found_in_either_form_and_paths_keep_the_letters_of_the_disk(tmp_path: Path, in_table, on_disk):
    name, file = unicodedata.normalize(in_table, "Läsion 1"), unicodedata.normalize(on_disk, "Läsion 1.jpg")
    folder = unicodedata.normalize(on_disk, "Rücken")
    touch(tmp_path, f"{folder}/{file}")
    assert name + ".jpg" != file
    found = find_images(tmp_path)
    assert locate([name, f"{name}.jpg"], found, "{}") == [f"{folder}/{file}"] * 2
    assert resolve(tmp_path, unicodedata.normalize(in_table, f"Rücken/{file}")) == [f"{folder}/{file}"]
    assert find_images(tmp_path, unicodedata.normalize(in_table, "Rücken")) == found
    assert read_bytes(tmp_path, f"{folder}/{file}")


def test_names_in_tars_are_found_in_either_form(tmp_path: Path):
    member = unicodedata.normalize(NFD, "a/Läsion.jpg")
    pack_tar(tmp_path / "0.tar", {member: b"1"})
    assert locate([unicodedata.normalize(NFC, "Läsion")], find_images(tmp_path), "{}") == [f"0.tar/{member}"]
    assert resolve(tmp_path, unicodedata.normalize(NFC, f"0.tar/{member}")) == [f"0.tar/{member}"]


def test_a_class_folder_of_a_mac_is_in_the_map_of_labels(tmp_path: Path):
    names = [unicodedata.normalize(NFD, word) for word in ("nävus/a.jpg", "übrige/b.jpg", "möglich/c.jpg")]
    table = Folder(path=touch(tmp_path, *names), unlabelled="möglich").read(ReadReport())
    schemes = {"two": {"benign": ("nävus",), "other": ("übrige",)}}
    labels = Labels(scheme="two", schemes=schemes)
    assert apply_labels(table, labels.mapping)["label"].fillna("-").to_list() == ["-", "benign", "other"]
    assert sorted(table["path"]) == sorted(names)
    assert sorted(table["image_id"]) == sorted(unicodedata.normalize(NFC, name) for name in names)


def test_two_files_of_one_name_in_two_forms_are_an_error_or_taken_as_they_are_written(tmp_path: Path):
    both = [f"{unicodedata.normalize(form, 'Läsion')}.jpg" for form in (NFC, NFD)]
    touch(tmp_path, *both)
    assert len(find_images(tmp_path)["Läsion"]) == 2
    assert resolve(tmp_path, *both) == both


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("pics\\a.jpg", "pics/a.jpg"),
        ("./pics/a.jpg", "pics/a.jpg"),
        (".\\pics\\a.jpg", "pics/a.jpg"),
        ("pics//a.jpg", "pics/a.jpg"),
        (" pics/a.jpg\u200b", "pics/a.jpg"),
        ("pics/a.JPG", "pics/a.jpg"),
        ("PICS\\A.JPG", "pics/a.jpg"),
        ("pics/b.jpg", "pics/b.jpg"),  # not there: as it is
        ("other\\b.jpg", "other/b.jpg"),
        ("", ""),
        ("/mnt/pics/a.jpg", "/mnt/pics/a.jpg"),
        ("C:\\pics\\a.jpg", "C:\\pics\\a.jpg"),
        ("\\\\server\\pics\\a.jpg", "\\\\server\\pics\\a.jpg"),
        ("https://example.org/pics/a.jpg", "https://example.org/pics/a.jpg"),
        ("../pics/a.jpg", "../pics/a.jpg"),
    ],
)
def test_a_path_of_another_system_is_found_and_an_absolute_one_never(tmp_path: Path, given: str, found: str):
    assert resolve(touch(tmp_path, "pics/a.jpg"), given) == [found]


def test_case_counts_where_two_files_or_two_rows_differ_in_nothing_else(tmp_path: Path):
    touch(tmp_path, "a.jpg", "A.jpg", "b.jpg")
    assert resolve(tmp_path, "a.jpg", "A.jpg", "a.JPG") == ["a.jpg", "A.jpg", "a.JPG"]
    assert resolve(tmp_path, "B.jpg", "B.JPG") == ["B.jpg", "B.JPG"]
    found = find_images(tmp_path)
    assert locate(["b", "B"], found, "{}") == ["b.jpg", "B"]
    assert locate(["B"], found, "{}") == ["b.jpg"]
    assert locate(["B.JPG"], found, "{}") == ["b.jpg"]
    assert locate(["B.png", "b.png"], found, "{}") == ["B.png", "b.png"]


def test_what_was_found_in_another_way_is_counted_and_told(tmp_path: Path):
    report = ReadReport()
    touch(tmp_path, "pics/a.jpg", "pics/b.jpg", "pics/c.jpg")
    resolve_paths(["pics\\a.jpg", "PICS/B.jpg", "pics/c.jpg"], tmp_path, report)
    assert report.changed == {"path": 2}
    assert [(warning.kind, warning.count) for warning in report.warnings] == [("other_case", 1)]
    locate(["A", "b"], find_images(tmp_path), "{}", report)
    assert report.warnings[-1].examples == ("'A' is 'pics/a.jpg'",)


def test_a_start_of_another_machine_is_replaced_where_the_settings_say_so(tmp_path: Path):
    touch(tmp_path, "images/a.jpg", "more/b.jpg")
    replace = {"/mnt/clinic/": "images/", "/mnt/clinic/new/": "more/", "D:\\photos\\": "images/"}
    given = ["/mnt/clinic/a.jpg", "/mnt/clinic/new/b.jpg", "D:\\photos\\a.jpg", "D:/photos/a.jpg", "/mnt/x.jpg"]
    assert resolve(tmp_path, *given, replace_start=replace) == [
        "images/a.jpg", "more/b.jpg", "images/a.jpg", "images/a.jpg", "/mnt/x.jpg",
    ]  # fmt: skip


def test_a_start_is_replaced_only_where_the_table_gives_paths(tmp_path: Path):
    with pytest.raises(ValueError, match=r"replace_start changes paths: name their column as columns.path"):
        Table(path=tmp_path, file="t.csv", columns={"image_id": "a"}, replace_start={"/a/": "b/"})


@given(st.text(max_size=30))
def test_any_text_as_a_path_gives_a_path_or_itself(text: str):
    assert isinstance(is_absolute(text), bool)


@pytest.fixture(scope="module")
def small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return touch(tmp_path_factory.mktemp("set"), "a.jpg", "pics/Läsion.jpg")


@given(paths=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["a.jpg", "A.JPG", "./a.jpg", "pics\\La\u0308sion.jpg"]), max_size=8))  # fmt: skip
def test_no_path_of_a_table_raises_or_leaves_the_folder(small_folder: Path, paths: list[str]):
    resolved = resolve(small_folder, *paths)
    assert len(resolved) == len(paths)
    for given_path, path in zip(paths, resolved, strict=True):
        assert (
            path in ("a.jpg", "pics/Läsion.jpg")
            or not (small_folder / path.lstrip("/")).is_file()
            or given_path == path
        )
    assert len(locate(paths, find_images(small_folder), "{}")) == len(paths)


# --- tables as people have them

COLUMNS = {"image_id": "Bild", "diagnosis": "Befund", "lesion_id": "Fall", "patient_id": "Patient"}


def names_of(file: Path) -> list[str]:
    return [line.split(",")[0] for line in file.read_text(encoding="utf-8").splitlines()[1:]]


def read_case(root: Path, cases: Path, name: str, **settings: object) -> list[str]:
    shutil.copy(cases / name / "export.csv", root / "export.csv")
    given_settings = {"columns": COLUMNS, **settings}
    table = Table(path=root, file="export.csv", **given_settings).read(ReadReport())
    return table["path"].to_list()


def test_the_composed_table_finds_the_decomposed_files_of_a_mac(cases: Path, tmp_path: Path):
    names = [unicodedata.normalize(NFD, name) for name in names_of(cases / "nfc-table" / "export.csv")]
    touch(tmp_path, *(f"pictures/{name}.jpg" for name in names))
    expected = [f"pictures/{name}.jpg" for name in names]
    assert read_case(tmp_path, cases, "nfc-table") == expected
    assert read_case(tmp_path, cases, "nfc-table", path_pattern="pictures/{image_id}.jpg") == expected
    assert len(expected) == 40


@pytest.mark.parametrize("pattern", [None, "pictures/{image_id}.jpg", "pictures/{Bild}.jpg"])
def test_whole_numbers_with_a_decimal_point_find_their_files(cases: Path, tmp_path: Path, pattern):
    names = [name.removesuffix(".0") for name in names_of(cases / "float-ids" / "export.csv")]
    touch(tmp_path, *(f"pictures/{name}.jpg" for name in names))
    found = read_case(tmp_path, cases, "float-ids", path_pattern=pattern)
    assert found == [f"pictures/{name}.jpg" for name in names] and len(found) == 40


def test_paths_of_another_machine_are_found_by_the_setting_that_is_named(cases: Path, tmp_path: Path):
    names = [name.rpartition("/")[2] for name in names_of(cases / "absolute-paths" / "export.csv")]
    touch(tmp_path, *(f"pictures/{name}" for name in names))
    columns = {"path": "Bild", "diagnosis": "Befund"}
    before = read_case(tmp_path, cases, "absolute-paths", columns=columns)
    assert before[0] == "/mnt/klinik/bilder/0.jpg"
    setting = {"/mnt/klinik/bilder/": "pictures/"}
    found = read_case(tmp_path, cases, "absolute-paths", columns=columns, replace_start=setting)
    assert found == [f"pictures/{name}" for name in names] and len(found) == 40


def test_windows_names_in_upper_case_are_found_in_every_adapter_that_searches_by_name(tmp_path: Path):
    touch(tmp_path, "images/isic_1.jpg", "images/NEL/NEL026.JPG")
    (tmp_path / "HAM10000_metadata.csv").write_text(
        "lesion_id,image_id,dx,dx_type,age,sex,localization\nL1,ISIC_1,nv,histo,45.0,male,back\n"
    )
    assert Ham10000(path=tmp_path).read(ReadReport())["path"].to_list() == ["images/isic_1.jpg"]
    touch(tmp_path, "meta/x")
    (tmp_path / "meta" / "meta.csv").write_text(
        "case_num,diagnosis,location,sex,clinic,derm\n1,nevus,back,male,NEL\\nel026.jpg,NEL\\nel026.jpg\n"
    )
    table = Derm7pt(path=tmp_path).read(ReadReport())
    assert table["path"].to_list() == ["images/NEL/NEL026.JPG"]
    assert failures(table).empty
