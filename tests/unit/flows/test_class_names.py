"""Classes of any name go through data validation, split, comparison and pages, each as itself."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from components.base.log import SilentLog
from components.clinical.settings import Clinical
from components.data.labels import Labels
from flows.compare import compare
from tests.unit.comparison.simulated_study import Truth, fabricate, settings
from tests.unit.flows.small_dataset import SmallDataset, place
from tests.unit.names import CLASS_NAMES

MARKUP = "<b>bold</b>"


class Page(HTMLParser):
    """The elements, attributes and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.text = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def shows(page: Page, name: str) -> bool:
    """Whether the name is in the page's text, where blanks of any kind are equal."""
    return " ".join(name.split()) in " ".join(page.text.split())


@pytest.fixture
def odd_dataset(tmp_path: Path) -> SmallDataset:
    """Three images of each class, all sound."""
    (tmp_path / "images").mkdir()
    labels = Labels(scheme="odd", schemes={"odd": {name: (f"diagnosis {name}",) for name in CLASS_NAMES}})
    made = SmallDataset(tmp_path / "images", place(tmp_path / "made"), labels=labels)
    for number, name in enumerate(labels.classes):
        for view in range(3):
            made.image(f"image{number}_{view}", f"diagnosis {name}")
    return made


def test_validation_and_split_count_each_class(odd_dataset: SmallDataset) -> None:
    counted = odd_dataset.validate()
    assert counted["classes"] == dict.fromkeys(CLASS_NAMES, 3)
    groups = {f"groups of class {name}": 3 for name in CLASS_NAMES}
    assert {name: counted["expectations"][name]["observed"] for name in groups} == groups
    for path in (odd_dataset.paths.reports / "data.html", odd_dataset.paths.docs / "index.html"):
        page = Page(path)
        assert "b" not in page.elements and "i" not in page.elements
        assert [name for name in CLASS_NAMES if not shows(page, name)] == []
    divided = odd_dataset.split()
    assert divided["classes"] == {part: dict.fromkeys(CLASS_NAMES, 1) for part in ("train", "val", "test")}


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reports of a study over classes of any name."""
    folder = tmp_path_factory.mktemp("compared")
    shares = tuple([1 / len(CLASS_NAMES)] * len(CLASS_NAMES))
    arms = {"vae": 0.7, "imagenet": 0.6}
    truth = Truth(
        right=arms, gap=dict.fromkeys(arms, 0.01), protocols=("frozen",), lesions=150, epochs=3, classes=CLASS_NAMES,
        shares=shares,
    )  # fmt: skip
    given = settings(truth, synthetic=True)
    plain = given["clinical"].model_dump()
    levels = {"$y^$ | later": CLASS_NAMES[1:], MARKUP: CLASS_NAMES[:1]}
    given["clinical"] = Clinical(**plain | {"malignant": CLASS_NAMES[:3], "severity": levels})
    given["log"] = SilentLog()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        fabricate(truth, Path())
        compare.work(**given)
    return folder / "reports"


def test_the_page_of_the_comparison_shows_every_class_as_text(compared: Path) -> None:
    page = Page(compared / "comparison.html")
    assert "b" not in page.elements and "script" not in page.elements
    short = [name for name in CLASS_NAMES if len(name) <= 32]
    assert [name for name in short if not shows(page, name)] == []
    assert "49" not in page.text.split()  # of {{ 7 * 7 }}


def test_every_class_has_columns_of_its_own(compared: Path) -> None:
    with (compared / "comparison.csv").open(newline="", encoding="utf-8") as file:
        columns = next(csv.reader(file))
    assert len(set(columns)) == len(columns)
    assert sum(column.startswith("test/sensitivity.") for column in columns) == 3 * len(CLASS_NAMES)
    row = json.loads((compared / "comparison.json").read_text("utf-8"))["rows"][0]
    table = pd.read_csv(compared / "comparison.csv")
    assert table["test/sensitivity.mel_low"][0] == pytest.approx(row["test"]["sensitivity.mel"]["low"])
    assert table["test/sensitivity.mel_x005F_low"][0] == pytest.approx(row["test"]["sensitivity.mel_low"]["mean"])
