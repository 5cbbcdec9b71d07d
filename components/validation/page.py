"""The data validation page: what was read, what was quarantined and why, what a person has to review.

It names images only by image_id. Pictures are encoded again from pixels, and the page contains neither paths nor ids of
patients and lesions, except as examples of warnings about public data: of these it says only whether two of them are
the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.data.ids import about_missing_ids
from components.data.read_report import ReadReport
from components.report import page
from components.report.figures import PALETTE
from components.report.formatting import count
from components.validation import quality_figure
from components.validation.expectations import ExpectationResult
from components.validation.quality import MEASURES, QualityMeasure, Values, format_value
from components.validation.thumbnails import SIDE, Thumbnail, thumbnail, tile

SHOWN = 12
"""Images shown for one rule; all are in the quarantine file."""

PAIRS = 24
"""Pairs shown for review."""

LARGE = 360
"""Pixels of the longer side of an image that is shown next to another."""

MAX_VALUES = 4
"""Formats, or colours, or sizes that are listed with their counts."""

TITLES = {
    "image.missing": "The file is not there",
    "image.outside_folder": "The file is outside the data set's folder",
    "image.unreadable": "The file cannot be read",
    "image.empty": "The file is empty",
    "image.not_an_image": "The file is not an image",
    "image.unread_format": "The file is an image of a format that is not read",
    "image.corrupt": "The image is damaged",
    "image.too_large": "The image is too large to open safely",
    "image.wrong_extension": "The file's extension means another format",
    "image.trailing_bytes": "The file holds more data after the image",
    "image.cmyk": "The colours are made for print (CMYK)",
    "image.sixteen_bit": "The image has 16 bits a colour",
    "image.grey": "The image is grey",
    "image.animated": "The image has several frames",
    "image.alpha": "Parts of the image are transparent",
    "image.too_small": "The image is too small",
    "image.duplicate_with_other_label": "The same file has two diagnoses",
    "lesion_id.one_diagnosis": "One lesion has several diagnoses",
    "lesion_id.one_patient": "One lesion belongs to several patients",
    "diagnosis.outside_map": "The diagnosis belongs to none of the classes",
}
"""Rule -> heading; a rule without an entry is made of its column and BREACHES."""

BREACHES = {
    "unique": "is not unique",
    "missing": "is missing",
    "empty": "is empty",
    "range": "is out of range",
    "words": "is not in the vocabulary",
    "inside": "is outside the data set's folder",
    "form": "has the wrong format",
}

IDENTIFYING = {
    "gps": "the place where it was taken (GPS)",
    "exif": "camera, date or owner (EXIF)",
    "text": "written text",
    "xmp": "editing history (XMP)",
    "iptc": "captions and names (IPTC)",
}
"""Kind of metadata in ImageFacts.identifying -> what it may contain."""


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
"""Name of `perceptual_hash.TURNS` -> how two images differ, whichever is the copy."""


@dataclass(frozen=True)
class ValidationReport:
    """All results of data validation, for the page."""

    rows: pd.DataFrame  # every row that was read: columns of Raw and ImageFacts
    accepted: pd.DataFrame  # Accepted
    quarantine: pd.DataFrame  # image_id, rule, value, expected, fix
    overruled: pd.DataFrame  # image_id, rule, who, why
    review: pd.DataFrame  # first, second, distance, turn, correlation
    outcomes: Sequence[ExpectationResult]  # empty: the run stopped before the acceptance
    classes: Sequence[str]
    orphans: int  # image files without a row
    quarantine_file: str  # path of the complete quarantine table, as shown on the page
    read: ReadReport  # what reading the data set did
    with_examples: bool  # whether the page may show words of the data set's tables
    read_file: str  # path of the complete ReadReport
    docs: str  # the folder of Great Expectations' Data Docs


@dataclass(frozen=True)
class PageImage:
    """One image on the page."""

    name: str
    picture: Thumbnail
    caption: str = ""


@dataclass(frozen=True)
class QuarantineRule:
    """One rule with the images that break it."""

    rule: str
    title: str
    count: int
    expected: str
    fixes: Sequence[str]
    images: Sequence[PageImage]


@dataclass(frozen=True)
class PairProperty:
    """One property of the two images of a pair."""

    name: str
    values: Sequence[str]  # of the first and the second, or one for both
    differs: bool  # True where a person has to decide


@dataclass(frozen=True)
class ReviewPair:
    """Two images that show the same picture but differ in label, patient or lesion."""

    first: PageImage
    second: PageImage
    properties: Sequence[PairProperty]
    agreement: str


@dataclass(frozen=True)
class QualityDistribution:
    """One quality measure: its histogram and its quantiles in words."""

    title: str
    figure: Any  # inline SVG
    quantiles: str


class ImageLookup:
    """Each image's row and thumbnail by image_id; of rows with the same id the first is shown."""

    def __init__(self, rows: pd.DataFrame, root: Path) -> None:
        self._rows = rows.drop_duplicates("image_id").set_index("image_id")
        self._root = root

    def row(self, name: str) -> Mapping[str, Any]:
        """The image's row, empty for an unknown image_id."""
        return dict(self._rows.loc[name]) if name in self._rows.index else {}

    def image(self, name: str, caption: str = "", side: int = SIDE) -> PageImage:
        """The image with its thumbnail of `side` pixels, and the caption without its path."""
        path = self.row(name).get("path") or ""
        picture = thumbnail(self._root, str(path), side) if path else tile("no such row")
        return PageImage(name, picture, without_path(caption, str(path)))


def render(report: ValidationReport, lookup: ImageLookup) -> str:
    """The page as HTML; the same report and images give the same bytes."""
    return page.render(
        "validation/page.html.j2",
        {"count": count, "plural": plural, "percent_text": percent_text, "observed": observed},
        report=report,
        read=report.read,
        with_examples=report.with_examples,
        missing_ids=about_missing_ids(report.read.images, report.read.known_ids),
        sources=sorted(report.rows["source"].dropna().unique()),
        synthetic=bool((report.rows["source"] == "SYNTHETIC").any()),
        files=describe_files(report.rows),
        rules=rules_of(report.quarantine, lookup),
        overruled=[
            (lookup.image(str(row.image_id)), title(str(row.rule)), row) for row in report.overruled.itertuples()
        ],
        pairs=[pair_of(row, lookup) for row in report.review.head(PAIRS).itertuples()],
        copies=copies(report.accepted),
        failed=[outcome for outcome in report.outcomes if not outcome["success"]],
        classes=classes_of(report),
        distributions=[distribution_of(measure, accepted_of(report)) for measure in MEASURES],
        identifying=identifying(report.rows),
        quarantined=report.quarantine["image_id"].nunique(),
        meanings=IDENTIFYING,
    )


def accepted_of(report: ValidationReport) -> pd.DataFrame:
    """The rows that were accepted, with ImageFacts."""
    return report.rows[report.rows["image_id"].isin(report.accepted["image_id"])]


def without_path(text: str, path: str) -> str:
    """A reason's text without the file's path, which may contain a person's name."""
    return text.replace(f"{path}: ", "").replace(path, "the file") if path else text


def title(rule: str) -> str:
    """A rule's heading: `image.corrupt` is `The image is damaged`, `age.range` is `Age is out of range`."""
    if rule in TITLES:
        return TITLES[rule]
    column, _, breach = rule.partition(".")
    return f"{column.replace('_', ' ')} {BREACHES.get(breach, breach.replace('_', ' '))}".strip().capitalize()


def rules_of(quarantine: pd.DataFrame, lookup: ImageLookup) -> list[QuarantineRule]:
    """The quarantine by rule, the most frequent first."""
    rules = [_rule(str(rule), rows, lookup) for rule, rows in quarantine.groupby("rule", sort=True)]
    return sorted(rules, key=lambda rule: -rule.count)


def _rule(rule: str, rows: pd.DataFrame, lookup: ImageLookup) -> QuarantineRule:
    shown = [lookup.image(str(row.image_id), str(row.value)) for row in rows.head(SHOWN).itertuples()]
    expected = rows["expected"].value_counts(sort=True).index[0]
    return QuarantineRule(
        rule=rule,
        title=title(rule),
        count=len(rows),
        expected=str(expected),
        fixes=list(rows["fix"].unique()[:3]),
        images=shown,
    )


def pair_of(row: Any, lookup: ImageLookup) -> ReviewPair:
    """One pair for review, with what differs."""
    first, second = lookup.row(row.first), lookup.row(row.second)
    keys = ("patient_id", "lesion_id")
    properties = [_labels(first, second), *(_same_id(key, first, second) for key in keys)]
    properties.append(PairProperty("Pixels", [_size(first), _size(second)], False))
    agreement = (
        f"{int(row.distance)} of 64 bits of the hash differ, pixels correlate by {row.correlation:.2f}, "
        f"{TURNS.get(row.turn, row.turn)}"
    )
    left, right = (lookup.image(str(name), side=LARGE) for name in (row.first, row.second))
    return ReviewPair(left, right, properties, agreement)


def _labels(first: Mapping[str, Any], second: Mapping[str, Any]) -> PairProperty:
    words = [str(each["label"]) if pd.notna(each.get("label")) else "no label" for each in (first, second)]
    return PairProperty("Label", words, words[0] != words[1])


def _same_id(key: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> PairProperty:
    """Whether the two have the same patient or lesion; the ids themselves are not shown."""
    name, ids = key.removesuffix("_id").capitalize(), [each.get(key) for each in (first, second)]
    if any(pd.isna(each) for each in ids):
        return PairProperty(name, ["not known of both"], False)
    return PairProperty(name, ["the same" if ids[0] == ids[1] else "not the same"], ids[0] != ids[1])


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


def classes_of(report: ValidationReport) -> list[dict[str, Any]]:
    """One row a class: accepted images, their share, lesions, patients, and quarantined rows; then unlabelled rows."""
    accepted = report.accepted
    quarantined = report.rows[
        report.rows["image_id"].isin(report.quarantine["image_id"])
        & ~report.rows["image_id"].isin(accepted["image_id"])
    ]
    parts = [
        (name, accepted[accepted["label"] == name], quarantined[quarantined["label"] == name])
        for name in report.classes
    ]
    parts.append(("no label", accepted[accepted["label"].isna()], quarantined[quarantined["label"].isna()]))
    return [
        {
            "name": name,
            "images": len(rows),
            "share": len(rows) / max(1, len(accepted)),
            "lesions": rows["lesion_id"].nunique(),
            "patients": rows["patient_id"].nunique(),
            "quarantined": len(rejected),
        }
        for name, rows, rejected in parts
        if name in report.classes or len(rows) or len(rejected)
    ]


def distribution_of(measure: QualityMeasure, table: pd.DataFrame) -> QualityDistribution:
    """One measure over the accepted images."""
    values = measure.values(table)
    figure = quality_figure.draw({"accepted": values}, measure, {"accepted": PALETTE[0]})
    svg = page.inline_svg(figure, f"quality-{measure.name}", f"{measure.title} of the accepted images")
    return QualityDistribution(measure.title, svg, quantile_words(values))


def quantile_words(values: Values) -> str:
    """Quantiles as a sentence: `Half of the images are below 148, nine in ten between 112 and 190`."""
    if not values.size:
        return "not measured"
    low, middle, high, most = (format_value(value) for value in np.quantile(values, (0.05, 0.5, 0.95, 1)))
    if low == high:
        return f"Nine in ten images have {middle}, the highest has {most}."
    return f"Half of the images are below {middle}, nine in ten between {low} and {high}."


def describe_files(rows: pd.DataFrame) -> list[tuple[str, str]]:
    """Formats, colours and sizes of the files that could be decoded, most frequent first."""
    lines = [
        (name, counted(rows[column])) for name, column in (("Formats", "format"), ("Colours", "mode")) if column in rows
    ]
    known = rows.dropna(subset=["width", "height"])
    if not known.empty:
        sizes = known["width"].astype("str") + " x " + known["height"].astype("str")
        lines.append(("Pixels", counted(sizes)))
    return lines


def counted(column: pd.Series) -> str:
    """`JPEG 9,990, PNG 25`: the most frequent values with their counts."""
    counts = column.dropna().value_counts().sort_index().sort_values(ascending=False, kind="stable")
    words = [f"{value} ({count(number)})" for value, number in counts.head(MAX_VALUES).items()]
    rest = len(counts) - MAX_VALUES
    return ", ".join(words) + (f" and {rest} more" if rest > 0 else "") if words else "none"


def identifying(rows: pd.DataFrame) -> dict[str, int]:
    """Number of files with each kind of metadata of IDENTIFYING, and `any`: files with at least one kind."""
    found = rows["identifying"].dropna() if "identifying" in rows else pd.Series(dtype="str")
    words = found.str.split(",").explode().str.strip()
    numbers = {word: int((words == word).sum()) for word in IDENTIFYING}
    others = sorted(set(words) - set(IDENTIFYING))
    return {"any": len(found), **numbers, **{word: int((words == word).sum()) for word in others}}


def plural(number: int, word: str) -> str:
    """`1 image`, `10,015 images`."""
    return f"{number:,} {word if number == 1 else word + 's'}"


def percent_text(share: float) -> str:
    """`71.3 %`; a share above 0 and below 0.05 % is `< 0.1 %`."""
    return "< 0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def observed(value: float | None) -> str:
    """An outcome's number with four digits, or in full from 10,000 on; `nothing` where there was no value."""
    if value is None:
        return "nothing"
    return f"{value:.4g}" if value < 10000 else f"{value:,.0f}"
