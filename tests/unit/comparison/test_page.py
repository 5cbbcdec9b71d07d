"""The page: complete, self-contained, the same each time, and true to the numbers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from contextlib import chdir
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import ValidationError

from components.base.families import load_member, members
from components.comparison.figures import FAMILY
from components.comparison.sentences import onset_range, planning
from components.report.figures import GRID_COLOUR, INK
from components.report.page import PAGES
from components.statistics.power import SampleSize
from flows.compare import compare
from flows.settings import load_settings
from tests.unit.comparison.simulated_study import Truth, fabricate, fingerprints, settings, write_json

MINUS = "\N{MINUS SIGN}"
VOID = {"meta", "br", "link", "img", "hr"}


def _page(folder: Path, truth: Truth, **chosen: object) -> str:
    with chdir(folder):
        fabricate(truth, Path())
        compare.work(**settings(truth, **chosen))
        return Path("reports/comparison.html").read_text()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of two arms, two protocols, three seeds."""
    truth = Truth(right={"vae": 0.6, "imagenet": 0.7}, gap={"vae": 0.0, "imagenet": 0.06}, lesions=60)
    return _page(tmp_path_factory.mktemp("study"), truth)


class _Reader(HTMLParser):
    """Collects words, attributes, and the tags that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    return reader


def test_every_tag_is_closed(page: str) -> None:
    assert _read(page).open == []


def test_the_page_loads_nothing_from_the_network(page: str) -> None:
    assert "<script" not in page
    links = [value for name, value in _read(page).attributes if name in {"src", "href", "srcset", "data"}]
    assert links  # figures use their own markers
    assert {value for value in links if not value.startswith("#")} == set(PAGES)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", page))
    assert not re.search(r"https?:|@import", page)


def test_the_other_pages_are_outs_of_the_graph(repo: Path) -> None:
    graph = (repo / "dvc.yaml").read_text()
    assert all(f"- ${{paths.reports}}/{name}\n" in graph for name in PAGES)


def test_no_path_and_no_time_stands_in_the_page(page: str) -> None:
    assert not re.search(r"/tmp|/home|/work|20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d", page)


def test_figures_follow_the_pages_colours(page: str) -> None:
    figures = re.findall(r"<svg .*?</svg>", page, flags=re.DOTALL)
    titles = [load_member(FAMILY, name).TITLE for name in members(FAMILY)]
    ours = [figure for figure in figures if any(f'aria-label="{title}: ' in figure for title in titles)]
    assert len(ours) == 4 + 8 + 4 + 2 + 4
    assert len(figures) > len(ours)  # the others are clinical
    assert all('aria-label="' in figure and "currentColor" in figure for figure in figures)
    assert not any(INK in figure or GRID_COLOUR in figure for figure in figures)


def test_the_page_has_this_order(page: str) -> None:
    words = _read(page).words
    order = [
        "Does vae beat imagenet",
        "vae against imagenet: ",
        "Best candidate for external testing: imagenet-",
        "How the models learned",
        "arXiv 2505.16773",
        "Learning curves",
        "Overfitting gap",
        "Onset, epoch",
        "On test images",
        "Paired differences",
        "Other tests of the same models",
        "What a decision would need",
        "Sensitivity by class",
        "Confusion matrices",
        "Calibration: do probabilities agree with frequencies?",
        "Why the comparison is fair",
        "What this cannot show",
        "dvc repro",
        "Not a medical device.",
    ]
    places = [words.index(line) for line in order]
    assert places == sorted(places)


def test_the_page_shows_the_fingerprints_that_make_it_fair(page: str) -> None:
    for protocol in ("frozen", "full"):
        for seed in range(3):
            assert all(value[:12] in page for value in fingerprints(protocol, seed).values())


def test_the_page_says_which_arms_draw_their_weights_anew(page: str) -> None:
    words = re.sub(r"\s+", " ", _read(page).words)
    assert "imagenet: one fixed set of weights: the seeds vary the head and its training only" in words
    assert re.search(r"vae[\w, ]*: each seed draws the pretraining anew, so intervals include its variance", words)


class _Cells(HTMLParser):
    """The words inside each element that has an id, and the target of each claim."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str | None] = []
        self.cells: dict[str, str] = {}
        self.claims: list[tuple[str, str]] = []
        self.claiming = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(given.get("id"))
            self.claiming = given.get("class") == "claim"
        if self.claiming:
            self.claims.append((str(given["href"]).removeprefix("#"), ""))

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()
        self.claiming = False

    def handle_data(self, data: str) -> None:
        for name in filter(None, self.open):
            self.cells[name] = self.cells.get(name, "") + data
        if self.claiming:
            self.claims[-1] = (self.claims[-1][0], self.claims[-1][1] + data)


def test_every_sentence_of_the_verdict_links_to_its_numbers(page: str) -> None:
    reader = _Cells()
    reader.feed(page)
    assert len(reader.claims) == 1 + 3 + 2 * 6  # headline, recommendation, two comparisons
    for anchor, words in reader.claims:
        text = re.sub(r"95 % interval|imagenet-\w+-\d", "", words)
        numbers = re.findall(rf"[{MINUS}+]?\d+(?:\.\d+)?", text)
        assert all(number in reader.cells[anchor] for number in numbers), (words, reader.cells[anchor])
        assert numbers or "against" in words or "Best candidate" in words or "gap" in words
    for anchor, words in reader.claims:
        if anchor.startswith("comparison-"):
            outcome = re.search(r": ([^.(;]+?)[ (.;]*(?:\(|\.|;)", words)
            assert outcome and outcome[1] in reader.cells[anchor]


def test_both_sources_of_variance_are_shown_separately(page: str) -> None:
    words = re.sub(r"\s+", " ", _read(page).words)
    assert len(re.findall(r"seeds ±\d+\.\d, lesions ±\d+\.\d", words)) == 4 + 2  # rows, differences


def test_the_page_shows_what_a_decision_would_need(page: str) -> None:
    words = re.sub(r"\s+", " ", _read(page).words)
    assert (
        len(re.findall(r"A true difference of 2 points is found with a probability of \d+ %\. For 80 %:", words)) == 2
    )


@pytest.mark.parametrize(
    ("onsets", "words"),
    [
        ((3, 2, 4), "2 to 4"),
        ((3, 3), "3"),
        ((None, 2, 5), "2 to 5; none in 1 of 3 seeds"),
        ((None, None), "in no seed"),
    ],
)
def test_the_onset_counts_the_seeds_without_one(onsets: tuple[int | None, ...], words: str) -> None:
    assert onset_range(onsets) == words


def test_a_study_that_no_number_can_decide_says_so() -> None:
    need = SampleSize(effect=0.02, power=0.8, now=0.124, seeds=None, lesions=None, detectable=0.0712)
    words = planning(need, 300)
    assert (
        "found with a probability of 12 %. For 80 %: no number of seeds up to 100 alone, or no number of lesions"
        in words
    )
    assert words.endswith("80 % of differences of 7.1 points are found.")
    assert "about 601 test lesions" in planning(replace(need, lesions=2.001), 300)
    assert "margin above zero" in planning(None, 300)


def test_the_null_line_is_a_row_of_the_table_and_no_arm_of_this_study_is_below_it(page: str) -> None:
    reader = _Cells()
    reader.feed(page)
    row = re.sub(r"\s+", " ", reader.cells["null-line"])
    assert "class frequencies alone" in row
    assert "33.3 %" in row  # balanced accuracy of three classes
    assert "0.500" in row  # macro AUROC
    assert "gets no credit for a small overfitting gap" in page


def test_images_that_are_not_synthetic_have_no_banner(page: str) -> None:
    assert "SYNTHETIC" not in page


def test_the_papers_numbers_give_the_papers_percentages(tmp_path: Path) -> None:
    truth = Truth(
        right={"vae": 0.6, "imagenet": 0.7},
        gap={"vae": 0.0, "imagenet": 0.06},
        gap_spread=0.0,
        protocols=("frozen",),
        lesions=40,
    )
    keys = ("val/loss", "train/accuracy", "val/accuracy")
    ends = {
        "vae": ((0.165, 0.45, 0.45), (0.110, 0.65, 0.65)),
        "imagenet": ((0.12, 0.58, 0.63), (0.10, 0.87, 0.75)),
    }  # first and last epoch
    with chdir(tmp_path):
        fabricate(truth, Path())
        for arm, rows in ends.items():
            first, last = (dict(zip(keys, row, strict=True)) for row in rows)
            for seed in truth.seeds:
                path = Path(f"metrics/finetune/{arm}-frozen-{seed}.json")
                rows = {"first": first, "last": last, "best": last, "best_epoch": truth.epochs}
                write_json(path, json.loads(path.read_text()) | rows)
        compare.work(**settings(truth))
        words = re.sub(r"\s+", " ", _read(Path("reports/comparison.html").read_text()).words)
    ours = words[words.index("How the models learned") : words.index("The paper, cited")]
    for number in (f"{MINUS}33.33 %", "45.0 → 65.0 +44.44 %", f"{MINUS}16.67 %", "58.0 → 87.0 +50.00 %", "+19.05 %"):
        assert number in ours
    assert "+0.060" in ours  # the gap


def test_one_arm_and_one_seed_make_a_page(tmp_path: Path) -> None:
    truth = Truth(right={"imagenet": 0.6}, gap={"imagenet": 0.1}, seeds=(4,), protocols=("full",), lesions=40)
    words = _read(_page(tmp_path, truth)).words
    assert "How good is a skin lesion classifier initialised by imagenet?" in words
    assert "Nothing to compare" in words
    assert "Recommendation not decided: 1 seed" in words
    assert "no interval" in words


def test_head_first_then_all_makes_a_page(tmp_path: Path) -> None:
    truth = Truth(
        right={"vae": 0.6, "imagenet": 0.6}, gap={"vae": 0.1, "imagenet": 0.1}, protocols=("lpft",), lesions=40
    )
    assert "head first, then all" in _read(_page(tmp_path, truth)).words


def test_a_class_with_few_lesions_is_marked(tmp_path: Path) -> None:
    truth = Truth(
        right={"vae": 0.6, "imagenet": 0.6}, gap={"vae": 0.1, "imagenet": 0.1}, shares=(0.5, 0.0, 0.5), lesions=40
    )
    words = _read(_page(tmp_path, truth)).words
    assert "mel †" in words
    assert "Fewer than 10 test lesions: mel (1)." in words


def test_a_study_with_a_hostile_name_writes_no_markup(tmp_path: Path) -> None:
    truth = Truth(right={"imagenet": 0.6}, gap={"imagenet": 0.1}, protocols=("full",), lesions=40)
    with chdir(tmp_path):
        fabricate(truth, Path())
        given = settings(truth)
        given["study"] = given["study"].model_copy(update={"name": "<script>alert(1)</script>"})
        compare.work(**given)
        assert "<script" not in Path("reports/comparison.html").read_text()


def test_the_page_shows_the_figures_that_the_setting_names(tmp_path: Path) -> None:
    truth = Truth(right={"imagenet": 0.6}, gap={"imagenet": 0.1}, protocols=("full",), lesions=40)
    text = _page(tmp_path, truth, figures=("confusion",))
    shown = {name for name in members(FAMILY) if f'aria-label="{load_member(FAMILY, name).TITLE}: ' in text}
    assert shown == {"confusion"}


def test_figures_of_one_section_stand_in_the_order_of_the_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_member(FAMILY, "confusion"), "SECTION", "test")
    truth = Truth(right={"imagenet": 0.6}, gap={"imagenet": 0.1}, protocols=("full",), lesions=40)
    titles = {name: f"<h3>{load_member(FAMILY, name).TITLE}</h3>" for name in ("arms", "confusion")}
    for order in (("arms", "confusion"), ("confusion", "arms")):
        text = _page(tmp_path, truth, figures=order)
        places = [text.index(titles[name]) for name in order]
        assert places == sorted(places)


@pytest.mark.parametrize(
    ("figures", "message"),
    [
        (("arms", "arms"), "expected each value once, arms is there twice"),
        (("roses",), "'roses' is no file in components/comparison/figures, expected one of arms, confusion"),
    ],
)
def test_a_list_of_figures_that_cannot_be_drawn_is_refused(figures: tuple[str, ...], message: str) -> None:
    truth = Truth(right={"imagenet": 0.6}, gap={"imagenet": 0.1})
    with pytest.raises(ValidationError, match=message):
        settings(truth, figures=figures)


def test_the_active_experiment_shows_every_figure(repo: Path) -> None:
    figures = load_settings(repo / "params.yaml").compare.figures
    assert figures == ("learning_curves", "overfitting_gap", "arms", "paired_differences", "confusion")


def test_the_report_needs_no_torch(repo: Path) -> None:
    code = "import sys, components.comparison.page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repo, check=False).returncode == 0
