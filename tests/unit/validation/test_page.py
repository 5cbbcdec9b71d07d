"""The data validation page shows what was found, names no person and loads nothing from the network."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.data.ids import NO_IDS
from components.data.read_report import Join, ReadReport, ReadWarning, TableRead
from components.validation.page import (
    IDENTIFYING,
    PAIRS,
    SHOWN,
    TITLES,
    TURNS,
    ValidationReport,
    quantile_words,
    title,
    without_path,
    write_page,
)
from components.validation.perceptual_hash import TURNS as ALL_TURNS
from components.validation.quarantine import BY_HAND, IMAGES

NAME = "mustermann_erika"
CLASSES = ("mel", "nv")
COUNT = 30


def photograph(seed: int) -> bytes:
    """A picture that says who it shows in its EXIF."""
    exif = Image.Exif()
    exif[0x010E] = NAME
    rough = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rough).resize((80, 64)).save(buffer, "JPEG", exif=exif.tobytes())
    return buffer.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images whose paths hold a name."""
    root = tmp_path_factory.mktemp("data")
    (root / NAME).mkdir()
    for place in range(COUNT):
        (root / NAME / f"{place}.jpg").write_bytes(photograph(place) if place >= 2 else b"no image")
    return root


def report(**changed: object) -> ValidationReport:
    """Two broken images, two near-copies under two labels, one accepted by hand."""
    ids = [f"i{place:02}" for place in range(COUNT)]
    seen = pd.DataFrame(
        {
            "image_id": ids,
            "path": [f"{NAME}/{place}.jpg" for place in range(COUNT)],
            "label": ["mel" if place % 2 else "nv" for place in range(COUNT)],
            "lesion_id": [f"lesion-{NAME}-{place // 2}" for place in range(COUNT)],
            "patient_id": [None, None] + [f"patient-{NAME}-{place // 4}" for place in range(2, COUNT)],
            "source": "HAM10000",
            "sha256": ["s" if place in (8, 9) else f"s{place}" for place in range(COUNT)],
            "format": "JPEG", "mode": "RGB", "problem": [None] * COUNT,
            "width": pd.array([80] * COUNT, "Int64"), "height": pd.array([64] * COUNT, "Int64"),
            "luma": np.linspace(100, 158, COUNT), "sharpness": 50.0, "saturation": 0.3, "vignette": 0.0,
            "identifying": ["exif,gps" if place < 3 else "exif" for place in range(COUNT)],
        }
    )  # fmt: skip
    quarantine = pd.DataFrame(
        {
            "image_id": ids[:2],
            "rule": "image.not_an_image",
            "value": [f"{NAME}/{place}.jpg: none of BMP, JPEG" for place in range(2)],
            "expected": "BMP, JPEG, PNG, TIFF or WEBP",
            "fix": "fetch the file again, or take the row out",
        }
    )
    accepted = seen.iloc[2:].assign(twins=["i04", "i04", "i04", *[None] * (COUNT - 5)])
    outcome = {
        "expectation": "x", "measure": "groups of class mel", "expected": "at least 3", "observed": 14.0,
        "success": True, "fix": "add lesions of mel",
    }  # fmt: skip
    made = ValidationReport(
        rows=seen,
        accepted=accepted,
        quarantine=quarantine,
        overruled=pd.DataFrame(
            {"image_id": ["i20"], "rule": ["image.grey"], "who": ["Dr. A"], "why": ["grey by <intent>"]}
        ),
        review=pd.DataFrame(
            {"first": ["i10"], "second": ["i13"], "distance": [3], "turn": ["rot90"], "correlation": [0.984]}
        ),
        outcomes=[outcome],
        classes=CLASSES,
        orphans=0,
        read=ReadReport(
            tables=[TableRead("HAM10000_metadata.csv", COUNT, "separator ',', utf-8")],
            images=COUNT,
            known_ids={"patient_id": COUNT - 2, "lesion_id": COUNT},
        ),
        with_examples=True,
        read_file="data/read_report.json",
        quarantine_file="data/quarantine.csv",
        docs="data/docs",
    )
    return replace(made, **changed)


def written(made: ValidationReport, folder: Path, out: Path) -> str:
    write_page(made, folder, out / "reports" / "data.html")
    return (out / "reports" / "data.html").read_text("utf-8")


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in {"meta", "img", "br", "link", "col"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "srcset", "data"}]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    reader.words = re.sub(r"\s+", " ", reader.words)
    return reader


def says(text: str, words: str) -> bool:
    """Whether the words stand on the page in this order, wherever its tags break them."""
    return "".join(words.split()) in "".join(read(text).words.split())


def test_every_tag_is_closed_and_every_link_leads_somewhere(folder: Path, tmp_path: Path) -> None:
    reader = read(written(report(), folder, tmp_path))
    assert reader.open == []
    targets = [link[1:] for link in reader.links if link.startswith("#")]
    assert {"quarantine", "review"} <= set(targets) <= set(reader.ids)
    assert len(set(reader.ids)) == len(reader.ids)


def test_the_page_loads_nothing_from_the_network(folder: Path, tmp_path: Path) -> None:
    text = written(report(), folder, tmp_path)
    assert "<script" not in text
    assert all(link.startswith(("#", "data:image/")) for link in read(text).links)
    assert not re.search(r"https?:|@import", text)


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


SIMILAR = ReadWarning("similar_ids", 1, "1 pairs of patient_id differ only in case", (f"'{NAME}' and 'Mustermann'",))


def test_the_page_says_what_was_read(folder: Path, tmp_path: Path) -> None:
    read_of = replace(
        report().read,
        joins=[Join("metadata.csv", 29, 30, "ids without file suffix")],
        changed=Counter(patient_id=12),
        files={"images": 31, "images without a row": 1},
        warnings=[SIMILAR],
    )
    text = written(report(read=read_of), folder, tmp_path)
    for part in (
        "1 warning about what was read",
        "HAM10000_metadata.csv 30 separator ',', utf-8",
        "metadata.csv 29 of 30 ids without file suffix",
        "Images with a patient id 28 of 30 Images with a lesion id 30 of 30",
        "Cells changed to one form patient_id 12",
        "In the folder: images 31 files In the folder: images without a row 1 file",
        f"1 pairs of patient_id differ only in case '{NAME}' and 'Mustermann'",
    ):
        assert says(text, part), part


def test_examples_of_warnings_are_shown_only_where_ids_are_public(folder: Path, tmp_path: Path) -> None:
    private = report(read=replace(report().read, warnings=[SIMILAR]), with_examples=False)
    text = written(private, folder, tmp_path)
    assert NAME not in text
    assert says(text, "1 pairs of patient_id differ only in case Examples are in data/read_report.json")


def test_missing_ids_are_said_at_the_top_and_no_lesion_is_counted(folder: Path, tmp_path: Path) -> None:
    unknown = ReadReport(images=COUNT, known_ids={"patient_id": 0, "lesion_id": 0})
    text = written(report(read=unknown, accepted=report().accepted.assign(patient_id=None)), folder, tmp_path)
    assert says(text, f"Ids {NO_IDS}.")
    assert text.index(NO_IDS[:40]) < text.index('<dl class="tiles">')
    assert says(text, "Class Accepted Share Quarantined mel 14 50.0 % 1 nv")
    assert NO_IDS not in read(written(report(), folder, tmp_path / "known")).words
