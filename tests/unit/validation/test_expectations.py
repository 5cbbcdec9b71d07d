"""Acceptance of whole data sets: each expectation fails on a table made to fail it, and the page says so."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from components.base.errors import DataError
from components.validation.data_docs import ExpectationLine, ExpectationTopic, rewrite
from components.validation.data_profile import profile
from components.validation.expectations import ExpectationResult, accept, describe
from components.validation.settings import AcceptanceLimits

CLASSES = ("mel", "nv")


def table(count: int = 40) -> pd.DataFrame:
    """Accepted rows without fault."""
    names = [f"i{n}" for n in range(count)]
    return pd.DataFrame(
        {
            "image_id": names,
            "label": [*CLASSES] * (count // 2),
            "group": names,
            "sha256": names,
            "age": 50.0,
            "sex": "female",
            "site": "back",
            "skin_type": pd.array([2] * count, dtype="Int64"),
            "width": 200,
            "height": 150,
            "luma": 128.0,
            "dark": 0.01,
            "bright": 0.01,
            "saturation": 0.3,
            "sharpness": 50.0,
            "vignette": 0.05,
            "source": "SYNTHETIC",
        }
    )


def spread(count: int = 40) -> pd.DataFrame:
    """The same, each image a little different."""
    rng = np.random.default_rng(0)
    return table(count).assign(
        luma=rng.normal(150, 15, count), sharpness=rng.uniform(20, 80, count), saturation=rng.uniform(0.2, 0.4, count)
    )


def held(rows: pd.DataFrame, docs: Path, **more: object) -> list[ExpectationResult]:
    settings = {"min_groups": 3, "max_missing": 0.5} | more
    return accept(rows, CLASSES, docs, **settings)


def failed(rows: pd.DataFrame, docs: Path, **more: object) -> list[str]:
    outcomes = held(rows, docs, **more)
    return [describe(outcome) for outcome in outcomes if not outcome["success"]]


def by_measure(outcomes: list[ExpectationResult]) -> dict[str, ExpectationResult]:
    return {outcome["measure"]: outcome for outcome in outcomes}


def test_a_sound_table_is_accepted(tmp_path: Path) -> None:
    outcomes = held(table(), tmp_path / "docs")
    assert len(outcomes) == 14
    assert all(outcome["success"] for outcome in outcomes)
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]


def test_outcomes_and_page_are_the_same_twice_and_the_docs_are_replaced(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "old.html").write_text("of another run")
    first = held(table(), docs)
    page = (docs / "index.html").read_bytes()
    assert held(table(), docs) == first
    assert (docs / "index.html").read_bytes() == page
    assert [path.name for path in docs.iterdir()] == ["index.html"]


def test_observed_values_are_those_counted_by_hand(tmp_path: Path) -> None:
    rows = table().assign(age=[50.0, np.nan] * 20, luma=[0.0] + [128.0] * 39)
    rows["site"] = rows["site"].where(rows.index >= 10, "unknown")
    seen = {outcome["measure"]: outcome["observed"] for outcome in held(rows, tmp_path / "d")}
    assert seen == {
        "images": 40,
        "groups of class mel": 20,
        "groups of class nv": 20,
        "share of distinct files": 1,
        "share of rows with age": 0.5,
        "share of rows with sex": 1,
        "share of rows with site": 0.75,
        "share of images at most 3 times as long as wide": 1,
        "share of images neither black nor blank (mean luma 10 to 245 of 255)": pytest.approx(39 / 40),
        "share of images at most 60 % of whose pixels are black": 1,
        "share of images at most 50 % of whose pixels are white": 1,
        "share of images in colour (mean saturation 0.02 to 0.8 of 1)": 1,
        "share of images with edges (sharpness at least 3)": 1,
        "share of images with at most 60 % black border": 1,
    }


def test_each_fault_fails_its_expectation_alone(tmp_path: Path) -> None:
    sound = table()
    one_group = sound.assign(group=sound["group"].where(sound["label"] != "mel", "i0"))
    no_class = sound.assign(label=sound["label"].where(sound["label"] != "mel"))
    faults = {
        "groups of class mel: 1, expected at least 3": one_group,
        "groups of class mel: 0, expected at least 3": no_class,
        "share of rows with age: 0, expected at least 0.5": sound.assign(age=np.nan),
        "share of rows with sex: 0, expected at least 0.5": sound.assign(sex="unknown"),
        "share of images at most 3 times as long as wide: 0, expected at least 0.99": sound.assign(width=900),
        "share of images neither black nor blank": sound.assign(luma=1.0),
        "share of images at most 60 % of whose pixels are black: 0,": sound.assign(dark=0.61),
        "share of images at most 50 % of whose pixels are white: 0,": sound.assign(bright=0.51),
        "share of images in colour": sound.assign(saturation=0.0),
        "share of images with edges": sound.assign(sharpness=2.9),
        "share of images with at most 60 % black border: 0.975,": sound.assign(vignette=[0.61] + [0.6] * 39),
        "share of distinct files: 0.025, expected at least 0.5": sound.assign(sha256="same"),
    }
    for text, rows in faults.items():
        (message,) = failed(rows, tmp_path / "docs")
        assert message.startswith(text), message


def test_every_limit_is_a_setting_that_its_message_names(tmp_path: Path) -> None:
    strict = AcceptanceLimits(
        max_aspect=1, luma=(200, 245), max_dark=0, max_bright=0, saturation=(0.9, 1), min_sharpness=60, max_vignette=0
    )
    messages = failed(table(), tmp_path / "docs", limits=strict)
    keys = ["max_aspect", "luma", "max_dark", "max_bright", "saturation", "min_sharpness", "max_vignette"]
    assert [re.findall(r"validate\.limits\.(\w+) \(params\.yaml\)", message) for message in messages] == [
        [key] for key in keys
    ]
    lax = table(4).assign(luma=0.0, sha256="same", age=np.nan, sex="unknown", site="unknown")
    loose = AcceptanceLimits(mostly=0, min_distinct=0)
    assert all(
        outcome["success"] for outcome in held(lax, tmp_path / "docs", min_groups=1, max_missing=None, limits=loose)
    )


@pytest.mark.parametrize("name", ["luma", "saturation"])
def test_a_range_the_wrong_way_round_is_no_limit(name: str) -> None:
    with pytest.raises(ValidationError, match=rf"{name} is \[1, 0.5\], expected the lower limit first"):
        AcceptanceLimits.model_validate({name: (1, 0.5)})


def test_a_failure_names_the_setting_that_fixes_it(tmp_path: Path) -> None:
    messages = failed(table(4).assign(age=np.nan, source="a/b"), tmp_path / "docs")
    fixes = ["labels.schemes", "validate.min_groups_per_class", "validate.min_groups_per_class"]
    for message, fix in zip(messages, [*fixes, "validate.max_missing_share"], strict=True):
        assert f"{fix}" in message and "params.yaml" in message


@pytest.mark.parametrize("off", [None, 1])
def test_a_data_set_without_patient_data_can_be_accepted(tmp_path: Path, off: float | None) -> None:
    bare = table().assign(age=np.nan, sex="unknown", site="unknown")
    message = (
        r"share of rows with age: 0, .* fill age in the data set's metadata; .* validate\.max_missing_share, .*null"
    )
    assert re.match(message, failed(bare, tmp_path / "docs")[0])
    outcomes = held(bare, tmp_path / "docs", max_missing=off)
    assert all(outcome["success"] for outcome in outcomes)
    assert not [name for name in by_measure(outcomes) if name.startswith("share of rows with")]


def test_a_data_set_is_like_itself_even_without_room(tmp_path: Path) -> None:
    rows = spread(42).assign(skin_type=pd.array([None] * 14 + [3] * 28, dtype="Int64"))
    tight = AcceptanceLimits(max_share_drift=0)
    outcomes = held(rows, tmp_path / "docs", limits=tight, reference=profile(rows, CLASSES))
    assert all(outcome["success"] for outcome in outcomes), [describe(f) for f in outcomes if not f["success"]]
    seen = by_measure(outcomes)
    assert seen["share of class mel"]["observed"] == 0.5
    assert seen["share of rows with skin type, as before"]["observed"] == pytest.approx(2 / 3)
    assert seen["median sharpness (variance of the Laplacian)"]["observed"] == pytest.approx(
        float(np.median(rows["sharpness"]))
    )


def test_each_drift_fails_its_expectation_alone(tmp_path: Path) -> None:
    before = spread()
    reference = profile(before, CLASSES)
    drifts = {
        "share of class mel: 0.65, expected 0.45 to 0.55": before.assign(label=["mel"] * 26 + ["nv"] * 14),
        "share of rows with age, as before: 0.875, expected at least 0.95": before.assign(
            age=[np.nan] * 5 + [1.0] * 35
        ),
        "share of rows with skin type, as before: 0,": before.assign(skin_type=pd.array([None] * 40, dtype="Int64")),
        "median brightness (luma, 0 to 255): ": before.assign(luma=before["luma"] - 60),
        "median saturation (0 grey, 1 pure colour): ": before.assign(saturation=before["saturation"] * 2),
        "median sharpness (variance of the Laplacian): ": before.assign(sharpness=before["sharpness"] / 5),
        "median share of black border: 0.5, expected 0.05 to 0.05": before.assign(vignette=0.5),
    }
    for text, rows in drifts.items():
        messages = failed(rows, tmp_path / "docs", reference=reference)
        assert messages[0].startswith(text), messages
        assert len(messages) == (2 if "class" in text else 1), messages  # what one class gains, the other loses
        assert "validate.reference" in messages[0]


def test_the_shares_of_classes_are_those_of_labelled_rows(tmp_path: Path) -> None:
    rows = spread()
    reference = profile(rows, CLASSES)
    half = rows.assign(label=rows["label"].where(rows.index < 20))
    assert not failed(half, tmp_path / "docs", limits=AcceptanceLimits(max_share_drift=0), reference=reference)
    seen = by_measure(held(rows.assign(label=None), tmp_path / "docs", reference=reference))
    assert seen["share of class mel"]["observed"] == 0 and not seen["share of class mel"]["success"]


def test_a_reference_with_other_classes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has the classes \['mel', 'bcc'\], expected \['mel', 'nv'\]"):
        held(table(), tmp_path / "docs", reference=profile(table(), ("mel", "bcc")))
    assert not (tmp_path / "docs").exists()


# --- the page


class Page(HTMLParser):
    """What a page refers to, which elements it has, and its text."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.words: list[str] = []
        self.feed(file.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [str(value) for name, value in attrs if name in ("href", "src", "srcset", "action", "data")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ExpectationResult]]:
    """The page of a data set that is dark and tells no age, and what was found."""
    docs = tmp_path_factory.mktemp("acceptance") / "docs"
    rows = spread().assign(luma=1.0, age=np.nan)
    return docs / "index.html", held(rows, docs, reference=profile(spread(), CLASSES))


def test_the_page_asks_nothing_of_the_network(refused: tuple[Path, list[ExpectationResult]]) -> None:
    page = Page(refused[0])
    assert page.links == []
    assert not page.tags & {"script", "link", "img", "iframe", "object", "form"}
    assert not re.search(r"https?:|//\w|@import|url\(", refused[0].read_text("utf-8"))


def test_the_page_shows_every_expectation_in_plain_words(refused: tuple[Path, list[ExpectationResult]]) -> None:
    file, outcomes = refused
    text = Page(file).text
    assert "SYNTHETIC acceptance" in text and "Great Expectations" in text
    bad = [outcome for outcome in outcomes if not outcome["success"]]
    assert len(bad) == 4
    assert text.count("✗ not met") == 4 and text.count("✓ met") == len(outcomes) - 4
    assert "✗ not accepted" in text and f"{len(outcomes) - 4} of {len(outcomes)} expectations are met" in text
    assert all(outcome["measure"] in text for outcome in outcomes)
    assert all(f"What to do: {outcome['fix']}." in text for outcome in bad)
    assert "Found 0 % , expected at least 50 % ." in text
    assert not re.search(r"expect_\w+|kwargs|greater than or equal", text)


def test_the_page_knows_no_time_machine_or_image(refused: tuple[Path, list[ExpectationResult]]) -> None:
    text = refused[0].read_text("utf-8")
    assert not re.search(r"20\d\d-?\d\d-?\d\d|\d\d:\d\d:\d\d|/tmp|/home|ge_load_time|fingerprint", text)
    assert not re.search(r"\bi\d+\b", Page(refused[0]).text)


def test_an_accepted_data_set_has_a_page_that_says_so(tmp_path: Path) -> None:
    held(table().assign(source="<b>&"), tmp_path / "docs")
    text = Page(tmp_path / "docs" / "index.html").text
    assert "✓ accepted" in text and "14 of 14 expectations are met" in text and "not met" not in text


def test_a_share_short_of_all_is_not_shown_as_all(tmp_path: Path) -> None:
    rows = pd.concat([table(20_000)]).assign(luma=[0.0] + [128.0] * 19_999)
    (message,) = failed(rows, tmp_path / "docs", limits=AcceptanceLimits(mostly=1))
    assert message.startswith("share of images neither black nor blank")
    assert "Found over 99.99 % , expected at least 100 % ." in Page(tmp_path / "docs" / "index.html").text


def test_a_page_of_great_expectations_that_says_otherwise_is_not_rewritten() -> None:
    line = ExpectationLine(ExpectationTopic("Size", ""), "images", "40", "at least 6", "add images", success=True)
    row = '<table><tr><td><i class="fas {}"></i></td><td>1. images: at least 6</td><td>40</td></tr></table>'
    assert "SYNTHETIC" in rewrite(row.format("text-success"), "SYNTHETIC", [line], "1.0")
    message = "Great Expectations 1.0 has another page layout: {} of 1 expectations were read"
    for html, count in {row.format("text-danger"): 1, "<table></table>": 0}.items():
        with pytest.raises(RuntimeError, match=message.format(count)):
            rewrite(html, "SYNTHETIC", [line], "1.0")


def test_outcomes_are_json(refused: tuple[Path, list[ExpectationResult]]) -> None:
    assert json.loads(json.dumps(refused[1], allow_nan=False)) == refused[1]
