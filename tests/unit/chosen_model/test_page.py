"""Each number of the first page is the number of its source, and its script computes what Python does."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest

from components.chosen_model.page import TEST_PICTURES, glossary, needless, render
from components.data.ids import NO_IDS, resampled_unit
from components.report.formatting import percent
from tests.unit.chosen_model.simulated_choice import choice, record


class Numbers(HTMLParser):
    """Every element with a source, as (path, form, text)."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str, str]] = []
        self._open: tuple[str, str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if "data-from" in known:
            self._open = (str(known["data-from"]), str(known["data-as"]))

    def handle_data(self, data: str) -> None:
        if self._open:
            self.found.append((*self._open, data.strip()))
            self._open = None


FORMS = {"count": lambda value: f"{value:,}", "percent": percent, "one": lambda value: f"{value:.1f}"}


def _value(path: str, found: object) -> object:
    for key in path.split("."):
        found = found[int(key)] if isinstance(found, list) else found[key]  # type: ignore[index]
    return found


def test_each_number_of_the_first_page_is_that_of_its_record() -> None:
    source = record()
    reader = Numbers()
    reader.feed(render(source))
    assert len(reader.found) > 60
    for path, form, text in reader.found:
        assert text == FORMS[form](_value(path, source)), path


def test_the_answers_of_the_record_are_those_of_the_assessment() -> None:
    melanoma, found = choice().melanoma, record()["answers"]["melanoma"]
    assert melanoma is not None
    assert found["malignant"]["mean"] == melanoma.malignant.mean
    assert sum(found["of_100"].values()) == 100


def test_the_dots_are_a_hundred_and_their_words_say_what_is_seen() -> None:
    page, of_100 = render(record()), record()["answers"]["melanoma"]["of_100"]
    dots, label = re.findall(r'<div class="dots" role="img" aria-label="([^"]*)">(.*?)</div>', page)[0][::-1]
    assert [dots.count(f'class="{kind}"') for kind in ("right", "wrong", "open")] == [
        of_100["malignant"], of_100["benign"], of_100["unanswered"]
    ]  # fmt: skip
    assert label == (
        f"100 dots: {of_100['malignant']} found, {of_100['benign']} called benign, {of_100['unanswered']} unanswered"
    )


def test_the_policy_allows_the_pages_own_script_alone() -> None:
    page = render(record())
    [script] = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}'" in page
    assert page.count("Content-Security-Policy") == 1
    assert not re.search(r"\son[a-z]+=", page)  # handlers in attributes would be blocked


def test_needless_excisions_are_flagged_benign_lesions_for_each_melanoma_found() -> None:
    """Of 1,000 lesions 20 are melanomas, of which 15 are found; of 980 benign ones 98 are flagged."""
    assert needless(0.75, 0.1, 0.02) == pytest.approx(98 / 15)
    assert needless(0.0, 0.1, 0.02) is None


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: the script is not run")
def test_the_script_computes_the_same() -> None:
    script = files("components").joinpath("chosen_model/prevalence.js").read_text()
    stage = (
        "var input; var parts = {prevalence: {value: '5', addEventListener: function (_, f) { input = f; }},"
        "needless: {dataset: {found: '0.75', flagged: '0.1'}, textContent: ''}};"
        "global.document = {getElementById: function (id) { return parts[id]; }};"
    )
    done = subprocess.run(
        ["node", "-e", f"{stage}{script}input(); console.log(parts.needless.textContent)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == f"{needless(0.75, 0.1, 0.05):.1f}"


def test_the_first_page_says_that_fitness_is_not_judged_and_what_ids_are_missing() -> None:
    page = render(record(missing_ids=[NO_IDS], unit="images"))
    assert "Fit for use: not judged." in page
    assert NO_IDS in page
    assert "intervals over images" in page


def test_the_terms_give_the_confidence_of_the_study_and_what_its_test_pictures_are() -> None:
    page = render(record(rule={"confidence": 0.9}, unit="lesions"))
    assert "90 of 100 intervals" in page and "95 of 100" not in page
    assert TEST_PICTURES["lesions"] in page and TEST_PICTURES["patients"] not in page


@pytest.mark.parametrize(
    "known", [{}, {"patient_id": 9}, {"lesion_id": 9}, {"patient_id": 9, "lesion_id": 9}, {"patient_id": 5}]
)
def test_the_test_pictures_are_explained_whatever_ids_are_known(known: dict[str, int]) -> None:
    unit = resampled_unit(9, {"patient_id": 0, "lesion_id": 0} | known)
    assert f"<dd>{TEST_PICTURES[unit]}</dd>" in render(record(unit=unit))


def test_the_first_page_leads_to_every_page_that_the_stages_make(repo: Path) -> None:
    """The page of the comparison is a part of study.html; that of the folds is there only where folds were trained."""
    made = set(re.findall(r"^ +- \$\{paths\.reports\}/(\w+\.html)$", (repo / "dvc.yaml").read_text(), re.MULTILINE))
    assert len(made) > 9
    links = set(re.findall(r'href="(\w+\.html)"', render(record())))
    assert links == made - {"comparison.html", "cross_validation.html"}


def test_the_first_page_explains_its_terms() -> None:
    page = render(record())
    assert all(f"<dt>{term}</dt>" in page for term in glossary(0.95, "patients"))
    levels = [int(level) for level in re.findall(r"<h(\d)", page)]
    assert levels[0] == 1 and max(after - before for before, after in itertools.pairwise(levels)) <= 1
