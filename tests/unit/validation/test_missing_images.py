"""The quarantine says what was looked for and what is there, and keeps it with the data."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from components.base.errors import DataError
from components.data.adapters.folder import Config as Folder
from components.data.adapters.table import Config as Table
from components.data.read_report import ReadReport
from components.validation.missing_images import name_nearest
from components.validation.quarantine import check_share, find_unusable, for_page, for_sharing
from components.validation.scan import scan


def draw(root: Path, *names: str) -> None:
    for number, name in enumerate(names):
        buffer = io.BytesIO()
        Image.new("RGB", (64, 64), (6 * number, 120, 250 - 6 * number)).save(buffer, "JPEG")
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(buffer.getvalue())


def quarantine(dataset: Folder | Table) -> pd.DataFrame:
    records = dataset.read(ReadReport())
    records["label"] = records["diagnosis"]
    facts = scan(dataset.path, list(records["path"]), None, lambda each, total, words: each).facts
    classes = sorted(records["diagnosis"].dropna().unique())
    return name_nearest(find_unusable(records, facts, classes, 32), dataset.path)


def of_case(root: Path, cases: Path, name: str, column: str) -> Table:
    shutil.copy(cases / name / "export.csv", root / "export.csv")
    return Table(path=root, file="export.csv", columns={column: "Bild", "diagnosis": "Befund"})


def test_lost_zeros_are_named_in_the_value_and_what_to_do_in_the_fix(cases: Path, tmp_path: Path):
    draw(tmp_path, *(f"pictures/{number:03d}.jpg" for number in range(40)))
    reasons = quarantine(of_case(tmp_path, cases, "lost-zeros", "image_id"))
    reasons = reasons[reasons["rule"] == "image.missing"].set_index("image_id")
    assert len(reasons) == 40
    assert reasons.loc["7", "value"] == (
        "no such file: looked for 7; nearest that exists: pictures/007.jpg (zeros, blanks or case differ)"
    )
    assert "correct its name in the table" in reasons.loc["7", "fix"]


def test_paths_of_another_machine_come_with_the_setting_to_paste(cases: Path, tmp_path: Path):
    draw(tmp_path, *(f"pictures/{number}.jpg" for number in range(40)))
    reasons = quarantine(of_case(tmp_path, cases, "absolute-paths", "path"))
    outside = reasons[reasons["rule"] == "image.outside_folder"]
    assert len(outside) == 40
    for row in outside.itertuples():
        name = Path(row.path).name
        assert row.value == (
            f"leaves the data set's folder, not opened: looked for /mnt/klinik/bilder/{name}; nearest that exists: "
            f'pictures/{name} (it is in another folder); dataset.replace_start: {{"/mnt/klinik/bilder/": "pictures/"}}'
        )
    setting = {"/mnt/klinik/bilder/": "pictures/"}
    dataset = of_case(tmp_path, cases, "absolute-paths", "path").model_copy(update={"replace_start": setting})
    assert quarantine(dataset).empty


def test_nothing_of_it_is_in_what_is_shared(cases: Path, tmp_path: Path):
    draw(tmp_path, "pictures/000.jpg")
    reasons = quarantine(of_case(tmp_path, cases, "absolute-paths", "path"))
    for shared in (for_sharing(reasons).drop(columns="image_id"), for_page(reasons, private=True)[["value", "fix"]]):
        assert not shared.map(lambda text: "klinik" in text or "pictures" in text).any(axis=None)
    with pytest.raises(DataError) as error:
        check_share(reasons, 40, 0.1, "quarantine.csv")
    assert "klinik" not in str(error.value) and "klinik" in error.value.words


def test_a_format_that_is_not_read_is_quarantined_with_its_remedy_and_stops_the_run(tmp_path: Path):
    draw(tmp_path, "nv/a.jpg", "mel/b.jpg", "mel/c.heic")
    (tmp_path / "nv" / "d.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    Image.new("RGB", (64, 64), (9, 120, 90)).save(tmp_path / "nv" / "e.nef", "TIFF")
    reasons = quarantine(Folder(path=tmp_path)).set_index("image_id")
    assert reasons["rule"].to_dict() == {
        "mel/c.heic": "image.wrong_extension", "nv/d.heic": "image.unread_format", "nv/e.nef": "image.unread_format",
    }  # fmt: skip
    assert reasons.loc["nv/d.heic", "value"] == "a HEIC or HEIF image, as phones write them"
    assert "heif-convert" in reasons.loc["nv/d.heic", "fix"]
    assert "darktable-cli" in reasons.loc["nv/e.nef", "fix"]
    with pytest.raises(DataError, match=r"3 of 5 rows cannot be used"):
        check_share(reasons.reset_index().set_index(pd.Index([0, 1, 2])), 5, 0.05, "quarantine.csv")


def test_a_row_that_names_no_file_and_a_table_without_reasons(tmp_path: Path):
    draw(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "t.csv").write_text("f,d\na.jpg,nv\n,nv\nx/zzz.jpg,mel\n")
    reasons = quarantine(Table(path=tmp_path, file="t.csv", columns={"path": "f", "diagnosis": "d"}))
    values = reasons[reasons["rule"].isin(["image.missing", "image.outside_folder"])].set_index("path")["value"]
    assert values[""].endswith("looked for nothing, as the row names no file; no file that exists is similar")
    assert values["x/zzz.jpg"] == "no such file: looked for x/zzz.jpg; no file that exists is similar"
    assert name_nearest(reasons.iloc[:0], tmp_path).empty
