"""The nearest file that exists, for each way in which tables and disks differ, and how long the search takes."""

from __future__ import annotations

import time
import unicodedata
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.file_kinds import IMAGE
from components.data.file_tree import FoundFile
from components.data.folder_account import account_for_files
from components.data.read_report import ReadReport
from components.data.similar_files import SimilarFile, SimilarFiles, common_starts


def files(*paths: str) -> SimilarFiles:
    return SimilarFiles([FoundFile(path, IMAGE) for path in paths])


@pytest.mark.parametrize(
    ("looked_for", "there", "difference"),
    [
        ("images/ISIC_1.jpg", "images/ISIC_1_downsampled.jpg", "an addition to the name differs"),
        ("images/ISIC_1.jpg", "images/ISIC_1_crop.jpg", "its name is longer"),
        ("images/ISIC_1_left.jpg", "images/ISIC_1.jpg", "its name is shorter"),
        ("images/7.jpg", "images/007.jpg", "zeros, blanks or case differ"),
        ("images/007.jpg", "images/7.jpg", "zeros, blanks or case differ"),
        ("images/7.0.jpg", "images/7.jpg", "zeros, blanks or case differ"),
        ("7.0", "images/7.jpg", "zeros, blanks or case differ"),
        ("images/lesion 7.jpg", "images/lesion7.jpg", "zeros, blanks or case differ"),
        ("images/7.jpg", "images/IMG_0007.jpg", "the numbers in the name are the same"),
        ("images\\a.jpg", "images/a.jpg", "the name is written in another way"),
        (f"images/{unicodedata.normalize('NFD', 'ä')}.jpg", "images/ä.jpg", "the name is written in another way"),
        ("images/A.jpg", "images/a.JPG", "upper and lower case differ"),
        ("images/a.jpg", "pictures/a.jpg", "it is in another folder"),
        ("/mnt/clinic/images/a.jpg", "pictures/a.jpg", "it is in another folder"),
        ("C:\\clinic\\a.jpg", "pictures/a.jpg", "it is in another folder"),
        ("images/a.jpg", "pictures/A.jpg", "it is in another folder, and case differs"),
        ("images/a.jpg", "images/a.png", "the suffix differs"),
        ("images/a.jpg.jpg", "images/a.jpg", "an addition to the name differs"),
        ("a", "images/a.heic", "the suffix differs"),
        ("images/lesion-7_b.jpg", "images/lesion_7-b.jpg", "marks differ"),
        ("images/melanoma_front.jpg", "images/melanome_front.jpg", "the name is similar"),
    ],
)
def test_the_nearest_file_of_a_missing_one(looked_for: str, there: str, difference: str):
    nearest = files(there, "images/zzz_9999.jpg", "images/qqq_8888.png").nearest(looked_for)
    assert nearest is not None
    assert (nearest.path, nearest.difference) == (there, difference)


@pytest.mark.parametrize("looked_for", ["", "images/", "images/xyz.jpg", "images/1.jpg"])
def test_no_file_is_named_where_none_is_similar(looked_for: str):
    assert files("images/100.jpg", "images/melanoma.jpg").nearest(looked_for) is None


def test_of_several_files_the_one_in_the_same_folder_is_named_and_the_others_are_counted():
    nearest = files("a/x/1.jpg", "a/y/1.jpg", "b/y/1.jpg").nearest("/mnt/b/y/1.jpg")
    assert nearest == SimilarFile("b/y/1.jpg", "it is in another folder", 2)
    assert str(nearest) == "b/y/1.jpg (it is in another folder, and 2 more)"


def test_the_start_that_differs_is_the_setting_to_paste():
    pairs = [("/mnt/a/1.jpg", "p/1.jpg"), ("/mnt/a/2.jpg", "p/2.jpg"), ("D:\\x\\b\\3.jpg", "b/3.jpg")]
    assert common_starts(pairs) == {"/mnt/a/": "p/", "D:/x/": ""}


NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12)


@given(st.lists(NAMES, max_size=6), NAMES)
def test_any_names_give_a_file_that_exists_or_none(paths: list[str], looked_for: str):
    nearest = files(*paths).nearest(looked_for)
    assert nearest is None or nearest.path in paths


def test_ten_thousand_missing_images_of_ten_thousand_take_seconds():
    """Comparing each with each would take a hundred million comparisons, minutes."""
    for name in ("images/ISIC_{:07d}_small.png", "pictures/other{}q.jpg", "qwertz{}"):
        similar = files(*(f"images/ISIC_{number:07d}.jpg" for number in range(10_000)))
        start = time.process_time()
        for number in range(10_000):
            similar.nearest(name.format(number))
        assert time.process_time() - start < 15, name


def test_missing_images_are_told_with_the_nearest_and_with_the_setting(tmp_path: Path):
    (tmp_path / "pictures").mkdir()
    for number in range(30):
        (tmp_path / "pictures" / f"{number}.jpg").touch()
    report = ReadReport()
    account_for_files(tmp_path, pd.Series([f"/mnt/klinik/bilder/{number}.jpg" for number in range(30)]), report)
    warning = next(warning for warning in report.warnings if warning.kind == "missing_images")
    assert warning.count == 30
    assert warning.message == (
        "30 of 30 rows name an image that is not there; of the first 30, 30 have a similar file: "
        "it is in another folder (30)"
    )
    assert "klinik" not in warning.message
    assert (
        warning.examples[0]
        == 'dataset.replace_start: {"/mnt/klinik/bilder/": "pictures/"} (adapter table, params.yaml)'
    )
    assert warning.examples[1] == "'/mnt/klinik/bilder/0.jpg': pictures/0.jpg (it is in another folder)"
