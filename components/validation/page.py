"""The gate's page: what was read, what was kept out and why, what a person has to look at, in one file.

It names images by image_id alone. Pictures are made anew from pixels, and neither paths nor the ids of patients
and lesions stand on it: of those it says only whether they are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.base.files import write_text
from components.report import page
from components.report.figures import PALETTE
from components.validation import quality_figure
from components.validation.expectations import Finding
from components.validation.quality import MEASURES, Measure, Values, written
from components.validation.thumbnails import SIDE, Thumbnail, thumbnail, tile

SHOWN = 12
"""Pictures of one rule; the rest stands in the quarantine's file."""

PAIRS = 24
"""Pairs shown for review."""

LARGE = 360
"""Pixels of the longer side of a picture that is to be compared with another."""

TITLES = {
    "image.missing": "The file is not there",
    "image.outside_folder": "The file lies outside the data set's folder",
    "image.unreadable": "The file cannot be read",
    "image.empty": "The file is empty",
    "image.not_an_image": "The file is not an image",
    "image.corrupt": "The image is damaged",
    "image.too_large": "The image is too large to open safely",
    "image.wrong_extension": "The file's name promises another format",
    "image.trailing_bytes": "Something is hidden or left behind the image",
    "image.cmyk": "The colours are made for print (CMYK)",
    "image.sixteen_bit": "The image has 16 bits a colour",
    "image.grey": "The image is grey",
    "image.animated": "The image has several frames",
    "image.alpha": "Parts of the image are transparent",
    "image.too_small": "The image is too small",
    "image.duplicate_with_other_label": "The same file stands under two diagnoses",
    "lesion_id.one_diagnosis": "One lesion has several diagnoses",
    "lesion_id.one_patient": "One lesion belongs to several patients",
    "diagnosis.outside_map": "The diagnosis belongs to none of the classes",
}
"""Rule -> what it means in plain words; a rule without an entry is written out."""

BREACHES = {
    "unique": "stands twice",
    "missing": "is missing",
    "empty": "is empty",
    "range": "is out of range",
    "words": "is not a known word",
    "inside": "leads out of the data set's folder",
    "form": "has the wrong form",
}

IDENTIFYING = {
    "gps": "the place where it was taken (GPS)",
    "exif": "camera, date or owner (EXIF)",
    "text": "written text",
    "xmp": "editing history (XMP)",
    "iptc": "captions and names (IPTC)",
}
"""Word of Facts.identifying -> what may stand there."""


TURNS = {
    "identity": "neither is turned",
    "rot90": "one is turned by 90°",
    "rot180": "one is upside down",
    "rot270": "one is turned by 90°",
    "mirror": "one is mirrored left to right",
    "flip": "one is mirrored top to bottom",
    "transpose": "one is turned and mirrored",
    "transverse": "one is turned and mirrored",
}
"""Name of `perceptual.TURNS` -> what it is for two pictures, whichever is the copy."""


@dataclass(frozen=True)
class Gate:
    """Everything that the gate found out; tables as their makers describe them."""

    seen: pd.DataFrame  # every row that was read: Raw's columns and Facts'
    accepted: pd.DataFrame  # Accepted
    quarantine: pd.DataFrame  # image_id, rule, value, expected, mend
    by_hand: pd.DataFrame  # image_id, rule, who, why
    review: pd.DataFrame  # first, second, distance, turn, correlation
    findings: Sequence[Finding]  # none: the run stopped before the acceptance
    classes: Sequence[str]
    orphans: int  # image files without a row
    quarantine_file: str  # where all of the quarantine stands, as a person would open it
    docs: str  # the folder of Great Expectations' Data Docs


@dataclass(frozen=True)
class Exhibit:
    """One image on the page."""

    name: str
    picture: Thumbnail
    words: str = ""


@dataclass(frozen=True)
class Rule:
    """One reason to keep images out."""

    rule: str
    title: str
    count: int
    expected: str
    mends: Sequence[str]
    exhibits: Sequence[Exhibit]


@dataclass(frozen=True)
class Likeness:
    """What is known of one property of a pair."""

    name: str
    values: Sequence[str]  # of the first and the second, or one for both
    differs: bool  # so that somebody has to decide


@dataclass(frozen=True)
class Pair:
    """Two images that look the same though something about them differs."""

    first: Exhibit
    second: Exhibit
    rows: Sequence[Likeness]
    words: str


@dataclass(frozen=True)
class Spread:
    """One measure of quality: its figure and its middle and ends in words."""

    title: str
    figure: Any
    words: str


class Pictures:
    """Each image's row and thumbnail by image_id; one that two rows claim is shown as the first has it."""

    def __init__(self, seen: pd.DataFrame, root: Path) -> None:
        self._rows = seen.drop_duplicates("image_id").set_index("image_id")
        self._root = root

    def row(self, name: str) -> Mapping[str, Any]:
        """The image's row, empty for an image that nobody knows."""
        return dict(self._rows.loc[name]) if name in self._rows.index else {}

    def exhibit(self, name: str, words: str = "", side: int = SIDE) -> Exhibit:
        """The image with its picture, and `words` without its path."""
        path = self.row(name).get("path") or ""
        picture = thumbnail(self._root, str(path), side) if path else tile("no such row")
        return Exhibit(name, picture, without_path(words, str(path)))


def write_page(gate: Gate, root: Path, path: Path) -> None:
    """The page at `path`; `root` is the data set's folder, where pictures come from."""
    text = render(gate, Pictures(gate.seen, root))
    write_text(path, text)


def render(gate: Gate, pictures: Pictures) -> str:
    """The whole page; the same gate and pictures give the same bytes."""
    return page.render(
        "validation/page.html.j2",
        {"count": count, "plural": plural, "percent": percent},
        gate=gate,
        sources=sorted(gate.seen["source"].dropna().unique()),
        synthetic=bool((gate.seen["source"] == "SYNTHETIC").any()),
        read=describe_files(gate.seen),
        rules=rules_of(gate.quarantine, pictures),
        by_hand=[(pictures.exhibit(str(row.image_id)), title(str(row.rule)), row) for row in gate.by_hand.itertuples()],
        pairs=[pair_of(row, pictures) for row in gate.review.head(PAIRS).itertuples()],
        copies=copies(gate.accepted),
        failed=[finding for finding in gate.findings if not finding["success"]],
        classes=classes_of(gate),
        spreads=[spread_of(measure, kept_of(gate)) for measure in MEASURES],
        identifying=identifying(gate.seen),
        quarantined=gate.quarantine["image_id"].nunique(),
        meanings=IDENTIFYING,
    )


def kept_of(gate: Gate) -> pd.DataFrame:
    """The rows of `seen` that were accepted."""
    return gate.seen[gate.seen["image_id"].isin(gate.accepted["image_id"])]


def without_path(words: str, path: str) -> str:
    """A reason's words without the file's path, which may hold a name."""
    return words.replace(f"{path}: ", "").replace(path, "the file") if path else words


def title(rule: str) -> str:
    """A rule in plain words: `image.corrupt` is `The image is damaged`, `age.range` is `age is out of range`."""
    if rule in TITLES:
        return TITLES[rule]
    column, _, breach = rule.partition(".")
    return f"{column.replace('_', ' ')} {BREACHES.get(breach, breach.replace('_', ' '))}".strip().capitalize()


def rules_of(quarantine: pd.DataFrame, pictures: Pictures) -> list[Rule]:
    """The quarantine by rule, the most frequent first."""
    rules = [_rule(str(rule), rows, pictures) for rule, rows in quarantine.groupby("rule", sort=True)]
    return sorted(rules, key=lambda rule: -rule.count)


def _rule(rule: str, rows: pd.DataFrame, pictures: Pictures) -> Rule:
    shown = [pictures.exhibit(str(row.image_id), str(row.value)) for row in rows.head(SHOWN).itertuples()]
    expected = rows["expected"].value_counts(sort=True).index[0]
    return Rule(rule, title(rule), len(rows), str(expected), list(rows["mend"].unique()[:3]), shown)


def pair_of(row: Any, pictures: Pictures) -> Pair:
    """One pair for review, with what differs."""
    first, second = pictures.row(row.first), pictures.row(row.second)
    keys = ("patient_id", "lesion_id")
    rows = [_labels(first, second), *(_sameness(key, first, second) for key in keys)]
    rows.append(Likeness("Pixels", [_size(first), _size(second)], False))
    words = (
        f"{int(row.distance)} of 64 bits of the hash differ, pixels correlate by {row.correlation:.2f}, "
        f"{TURNS.get(row.turn, row.turn)}"
    )
    left, right = (pictures.exhibit(str(name), side=LARGE) for name in (row.first, row.second))
    return Pair(left, right, rows, words)


def _labels(first: Mapping[str, Any], second: Mapping[str, Any]) -> Likeness:
    words = [str(each["label"]) if pd.notna(each.get("label")) else "no label" for each in (first, second)]
    return Likeness("Label", words, words[0] != words[1])


def _sameness(key: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> Likeness:
    """Whether the two share a patient or lesion; the ids themselves stay off the page."""
    name, ids = key.removesuffix("_id").capitalize(), [each.get(key) for each in (first, second)]
    if any(pd.isna(each) for each in ids):
        return Likeness(name, ["not known of both"], False)
    return Likeness(name, ["the same" if ids[0] == ids[1] else "not the same"], ids[0] != ids[1])


def _size(row: Mapping[str, Any]) -> str:
    known = pd.notna(row.get("width")) and pd.notna(row.get("height"))
    return f"{row['width']} x {row['height']}" if known else "unknown"


def copies(accepted: pd.DataFrame) -> dict[str, int]:
    """Accepted images that have an exact or a near copy among them, and into how many groups they fall."""
    exact = accepted.loc[accepted["sha256"].duplicated(keep=False), "sha256"]
    near = accepted["twins"].dropna() if "twins" in accepted else exact.iloc[:0]
    return {
        "exact_images": len(exact),
        "exact_groups": exact.nunique(),
        "near_images": len(near),
        "near_groups": near.nunique(),
    }


def classes_of(gate: Gate) -> list[dict[str, Any]]:
    """A row a class: accepted images with their share, lesions and patients, and rows kept out; then unlabelled."""
    kept = gate.accepted
    out = gate.seen[
        gate.seen["image_id"].isin(gate.quarantine["image_id"]) & ~gate.seen["image_id"].isin(kept["image_id"])
    ]
    parts = [(name, kept[kept["label"] == name], out[out["label"] == name]) for name in gate.classes]
    parts.append(("no label", kept[kept["label"].isna()], out[out["label"].isna()]))
    return [
        {
            "name": name,
            "images": len(rows),
            "share": len(rows) / max(1, len(kept)),
            "lesions": rows["lesion_id"].nunique(),
            "patients": rows["patient_id"].nunique(),
            "out": len(rejected),
        }
        for name, rows, rejected in parts
        if name in gate.classes or len(rows) or len(rejected)
    ]


def spread_of(measure: Measure, table: pd.DataFrame) -> Spread:
    """One measure over the accepted images."""
    values = measure.values(table)
    figure = quality_figure.draw({"accepted": values}, measure, {"accepted": PALETTE[0]})
    svg = page.inline_svg(figure, f"quality-{measure.name}", f"{measure.title} of the accepted images")
    return Spread(measure.title, svg, quantile_words(values))


def quantile_words(values: Values) -> str:
    """`Half of the images lie below 148, nine in ten between 112 and 190`."""
    if not values.size:
        return "not measured"
    low, middle, high, most = (written(value) for value in np.quantile(values, (0.05, 0.5, 0.95, 1)))
    if low == high:
        return f"Nine in ten images have {middle}, the highest has {most}."
    return f"Half of the images lie below {middle}, nine in ten between {low} and {high}."


def describe_files(seen: pd.DataFrame) -> list[tuple[str, str]]:
    """What lay in the folder: formats, sizes and colours of the files that could be opened."""
    lines = [
        (name, counted(seen[column])) for name, column in (("Formats", "format"), ("Colours", "mode")) if column in seen
    ]
    known = seen.dropna(subset=["width", "height"])
    if not known.empty:
        sizes = known["width"].astype("str") + " x " + known["height"].astype("str")
        lines.append(("Pixels", counted(sizes)))
    return lines


def counted(column: pd.Series, most: int = 4) -> str:
    """`JPEG 9,990, PNG 25`: the most frequent values with their counts."""
    counts = column.dropna().value_counts().sort_index().sort_values(ascending=False, kind="stable")
    words = [f"{value} ({count(number)})" for value, number in counts.head(most).items()]
    rest = len(counts) - most
    return ", ".join(words) + (f" and {rest} more" if rest > 0 else "") if words else "none"


def identifying(seen: pd.DataFrame) -> dict[str, int]:
    """Word of IDENTIFYING -> number of files that carry it, and `any`: files that carry something."""
    found = seen["identifying"].dropna() if "identifying" in seen else pd.Series(dtype="str")
    words = found.str.split(",").explode().str.strip()
    numbers = {word: int((words == word).sum()) for word in IDENTIFYING}
    others = sorted(set(words) - set(IDENTIFYING))
    return {"any": len(found), **numbers, **{word: int((words == word).sum()) for word in others}}


def count(number: int) -> str:
    """`10,015`."""
    return f"{number:,}"


def plural(number: int, word: str, many: str | None = None) -> str:
    """`1 image`, `10,015 images`."""
    return f"{number:,} {word if number == 1 else many or word + 's'}"


def percent(share: float) -> str:
    """`71.3 %`; what is there but less than a tenth says so."""
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"
