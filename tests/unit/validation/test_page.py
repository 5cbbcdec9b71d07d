"""The data validation page shows what was found, names no person and loads nothing from the network."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.report.page import PAGES
from components.validation.page import (
    IDENTIFYING,
    PAIRS,
    SHOWN,
    TITLES,
    TURNS,
    quantile_words,
    title,
    without_path,
)
from components.validation.perceptual_hash import TURNS as ALL_TURNS
from components.validation.quarantine import BY_HAND, IMAGES
from tests.unit.validation.small_report import (
    COUNT,
    NAME,
    read,
    report,
    says,
    write_images,
    written,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images whose paths hold a name."""
    return write_images(tmp_path_factory.mktemp("data"))


def test_every_tag_is_closed_and_every_link_leads_somewhere(folder: Path, tmp_path: Path) -> None:
    reader = read(written(report(), folder, tmp_path))
    assert reader.open == []
    targets = [link[1:] for link in reader.links if link.startswith("#")]
    assert {"quarantine", "review"} <= set(targets) <= set(reader.ids)
    assert len(set(reader.ids)) == len(reader.ids)


def test_the_page_loads_nothing_from_the_network(folder: Path, tmp_path: Path) -> None:
    text = written(report(), folder, tmp_path)
    assert "<script" not in text
    assert all(link.startswith(("#", "data:image/")) or link in PAGES for link in read(text).links)
    assert not re.search(r"https?:|@import", text)
    assert "the other pages are not there" in text  # `dermflow init` makes this one alone


def test_the_page_names_no_path_patient_or_lesion(folder: Path, tmp_path: Path) -> None:
    text = written(report(), folder, tmp_path)
    pictures = [base64.b64decode(found) for found in re.findall(r"base64,([^\"]+)", text)]
    assert len(pictures) == 2 + 1 + 2  # quarantine, by hand, one pair
    for part in (text.encode(), *pictures):
        assert NAME.encode() not in part
        assert str(folder).encode() not in part
    for data in pictures[2:]:
        with Image.open(io.BytesIO(data)) as image:
            assert dict(image.getexif()) == {}
            assert not {"exif", "xmp", "icc_profile"} & set(image.info)


def test_the_page_says_what_was_found(folder: Path, tmp_path: Path) -> None:
    text = written(report(), folder, tmp_path)
    for part in (
        "28 of 30 images are accepted",
        "Accepted 1 check of the data set as a whole, all passed.",
        "2 images in quarantine: see what to do",
        "Review 1 pair that shows the same picture but disagrees about it",
        "The file is not an image 2 images · image.not_an_image",
        "What to do: fetch the file again, or take the row out.",
        "i00 none of BMP, JPEG",
        "Dr. A",
        "grey by <intent>",
        "3 of 64 bits of the hash differ, pixels correlate by 0.98, one is turned by 90°.",
        "3 accepted images in 1 group of near copies, and 2 files in 1 group of files that are identical",
        "Formats JPEG (30) Colours RGB (30) Pixels 80 x 64 (30)",
        "30 files carry more than an image: 3 files the place where it was taken (GPS) 30 files camera",
    ):
        assert says(text, part), part


def test_a_pair_says_what_differs_without_the_ids(folder: Path, tmp_path: Path) -> None:
    review = pd.DataFrame(
        {
            "first": ["i10", "i00", "i12"], "second": ["i13", "i01", "i13"], "distance": 3,
            "turn": "identity", "correlation": 0.9,
        }
    )  # fmt: skip
    text = written(report(review=review), folder, tmp_path)
    rows = re.findall(r'<tr><th scope="row">(Label|Patient|Lesion)</th>(.*?)</tr>', text)
    cells = [(name, re.findall(r'<td( class="differs")?[^>]*>([^<]*)</td>', row)) for name, row in rows]
    said = [(name, [value for _, value in found], any(mark for mark, _ in found)) for name, found in cells]
    assert said == [
        ("Label", ["nv", "mel"], True), ("Patient", ["not the same"], True), ("Lesion", ["not the same"], True),
        ("Label", ["nv", "mel"], True), ("Patient", ["not known of both"], False), ("Lesion", ["the same"], False),
        ("Label", ["nv", "mel"], True), ("Patient", ["the same"], False), ("Lesion", ["the same"], False),
    ]  # fmt: skip


def test_no_more_pictures_are_shown_than_a_person_reviews(folder: Path, tmp_path: Path) -> None:
    rows = report().rows["image_id"].iloc[:COUNT]
    quarantine = pd.DataFrame(
        {"image_id": rows, "rule": "age.range", "value": "850.0", "expected": "0 to 120 years", "fix": "correct it"}
    )
    pairs = pd.DataFrame(
        {"first": "i10", "second": ["i13"] * (PAIRS + 5), "distance": 1, "turn": "flip", "correlation": 0.99}
    )
    text = written(report(quarantine=quarantine, review=pairs), folder, tmp_path)
    words = read(text).words
    assert text.count("<img") == SHOWN + 1 + 2 * PAIRS
    assert f"and {COUNT - SHOWN} more in data/quarantine.csv" in words
    assert "and 5 more pairs." in words
    assert "Age is out of range" in words


def test_classes_are_counted_with_quarantined_rows(folder: Path, tmp_path: Path) -> None:
    text = written(report(), folder, tmp_path)
    assert says(
        text, "Class Accepted Share Lesions Patients Quarantined mel 14 50.0 % 14 8 1 nv 14 50.0 % 14 8 1 Image"
    )


def test_unknown_patients_have_no_column(folder: Path, tmp_path: Path) -> None:
    unknown = report().accepted.assign(patient_id=None)
    assert says(written(report(accepted=unknown), folder, tmp_path), "Lesions Quarantined mel 14 50.0 % 14 1 nv")


def test_a_data_set_that_failed_says_what_to_fix(folder: Path, tmp_path: Path) -> None:
    failed = {**report().outcomes[0], "success": False, "observed": None, "fix": "add lesions of mel"}
    text = written(report(outcomes=[report().outcomes[0], failed]), folder, tmp_path)
    assert says(text, "Not accepted 1 check of the data set as a whole failed.")
    failed_first = (
        "at least 3 nothing ✗ failed What to do: add lesions of mel groups of class mel at least 3 14 ✓ passed"
    )
    assert says(text, f"groups of class mel {failed_first}")


def test_a_run_that_stopped_before_the_acceptance_says_so(folder: Path, tmp_path: Path) -> None:
    words = read(written(report(outcomes=[]), folder, tmp_path)).words
    assert "Stopped Too many images cannot be used" in words
    assert "Not checked" in words


def test_a_flawless_data_set_has_nothing_to_do(folder: Path, tmp_path: Path) -> None:
    made = report()
    text = written(
        replace(
            made,
            quarantine=made.quarantine.iloc[:0], overruled=made.overruled.iloc[:0], review=made.review.iloc[:0],
            accepted=made.rows.assign(twins=None), rows=made.rows.assign(identifying=None),
        ), folder, tmp_path,
    )  # fmt: skip
    words = read(text).words
    for part in (
        "There is nothing to do.",
        "No two images that show the same picture differ",
        "No image is in quarantine.",
        "No file carries EXIF",
        "30 of 30 images",
    ):
        assert part in words
    assert "<img" not in text


def test_nothing_accepted_makes_a_page(folder: Path, tmp_path: Path) -> None:
    words = read(written(report(accepted=report().accepted.iloc[:0], outcomes=[]), folder, tmp_path)).words
    assert "0 of 30 images are accepted" in words
    assert "not measured" in words


def test_rows_without_a_picture_or_with_one_id_are_shown(folder: Path, tmp_path: Path) -> None:
    seen = report().rows
    seen.loc[[3, 4], "image_id"] = "twice"
    seen.loc[5, ["image_id", "path"]] = ""
    quarantine = pd.DataFrame(
        {"image_id": ["twice", "twice", "", "gone"], "rule": "image_id.unique", "value": "twice",
         "expected": "a value that no other row has", "fix": "correct it"}
    )  # fmt: skip
    words = read(written(report(rows=seen, quarantine=quarantine), folder, tmp_path)).words
    assert "Image id is not unique" in words
    assert "(no id)" in words


def test_drawings_are_marked(folder: Path, tmp_path: Path) -> None:
    made = report(rows=report().rows.assign(source="SYNTHETIC"))
    assert "SYNTHETIC DATA" in read(written(made, folder, tmp_path)).words
    assert "SYNTHETIC" not in read(written(report(), folder, tmp_path)).words


def test_the_same_report_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    assert written(report(), folder, tmp_path / "a") == written(report(), folder, tmp_path / "b")


def test_every_problem_and_turn_has_plain_words() -> None:
    assert {*(f"image.{problem}" for problem in IMAGES), *BY_HAND} <= set(TITLES)
    assert set(ALL_TURNS) == set(TURNS)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.arange(101.0), "Half of the images are below 50, nine in ten between 5 and 95."),
        (np.r_[np.zeros(99), 0.4], "Nine in ten images have 0, the highest has 0.4."),
        (np.array([]), "not measured"),
    ],
)
def test_a_distribution_is_described_in_a_sentence(values: np.ndarray, words: str) -> None:
    assert quantile_words(values) == words


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("image.corrupt", "The image is damaged"),
        ("skin_type.range", "Skin type is out of range"),
        ("lesion_id.one_patient", "One lesion belongs to several patients"),
        ("odd", "Odd"),
    ],
)
def test_a_rule_has_a_plain_heading(rule: str, words: str) -> None:
    assert title(rule) == words


def test_a_reason_loses_the_path_and_keeps_the_rest() -> None:
    assert without_path("a/b.jpg: no such file", "a/b.jpg") == "no such file"
    assert without_path("'a/b.jpg' leads out", "a/b.jpg") == "'the file' leads out"
    assert without_path("850.0", "") == "850.0"


def test_what_identifies_is_counted_word_by_word(folder: Path, tmp_path: Path) -> None:
    seen = report().rows.assign(identifying=["novel"] + [None] * (COUNT - 1))
    assert "novel" not in IDENTIFYING
    assert says(written(report(rows=seen), folder, tmp_path), "1 file carries more than an image: 1 file novel")


def test_the_page_needs_no_torch(repo: Path) -> None:
    pages = "components.validation.page, components.validation.drift_page, flows.commands.data_diff"
    code = f"import sys, {pages}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repo, check=False).returncode == 0
