"""A small report of data validation, the images behind it, and a reader of the page that shows it."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from components.base.files import write_text
from components.data.read_report import ReadReport, TableRead
from components.validation.page import ImageLookup, ValidationReport, render

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


def write_images(root: Path) -> Path:
    """Images whose paths hold a name; the first two are broken."""
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
    """The page of a report as text."""
    write_text(out / "reports" / "data.html", render(made, ImageLookup(made.rows, folder)))
    return (out / "reports" / "data.html").read_text("utf-8")


class PageReader(HTMLParser):
    """Collects links, ids and words of a page, and fails for a tag that is not closed."""

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


def read(text: str) -> PageReader:
    """The page, parsed."""
    reader = PageReader()
    reader.feed(text)
    reader.words = re.sub(r"\s+", " ", reader.words)
    return reader


def says(text: str, words: str) -> bool:
    """Whether the words stand on the page in this order, wherever its tags break them."""
    return "".join(words.split()) in "".join(read(text).words.split())
