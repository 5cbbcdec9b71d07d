"""The section of the main page: each model on each external test set, with the numbers of its own page."""

from __future__ import annotations

import json
import re
from html import unescape

import pytest

from components.external_validation.record import as_record
from components.external_validation.results import ExternalValidationResult
from components.external_validation.summary import render_section
from components.report.formatting import DASH, interval_range, percent, points

INTERNAL = {
    "images": 1450,
    "groups": 900,
    "models": [{"arm": "vae", "protocol": "frozen", "balanced_accuracy": {"mean": 0.5, "low": 0.4, "high": None}}],
}


@pytest.fixture
def record(result: ExternalValidationResult) -> dict:
    """As the stage writes and reads it."""
    return json.loads(json.dumps(as_record(result)))


def rows_of(section: str) -> list[str]:
    """The text of each row, cells separated by ` | `."""
    rows = re.findall(r"<tr>(.*?)</tr>", section.partition("<tbody>")[2], re.DOTALL)
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]
    return [" | ".join(" ".join(unescape(re.sub(r"<[^>]+>", " ", cell)).split()) for cell in row) for row in cells]


def test_each_model_has_a_row_with_the_numbers_of_the_analysis(result: ExternalValidationResult, record: dict) -> None:
    found = rows_of(render_section([record], INTERNAL))
    assert found[0] == f"internal, all classes | vae, frozen | 1,450 | 50.0 % no interval | {DASH} | {DASH}"
    classes = ", ".join(result.labels.compared)
    expected = []
    for model in result.models:
        change = model.changes["balanced_accuracy"]
        p = "p < 0.001" if model.dropped.holm < 0.001 else f"p = {model.dropped.holm:.3f}"
        expected.append(
            f"pad {classes} | {model.arm}, frozen | {result.labels.images('external'):,} | "
            f"{percent(change.internal.mean)} % {interval_range(change.internal, percent)} | "
            f"{percent(change.external.mean)} % {interval_range(change.external, percent)} | "
            f"{points(change.drop.mean)} {interval_range(change.drop, points)} {p} after Holm"
        )
    assert found[1:] == expected and len(expected) == 2


def test_each_set_links_to_its_page_and_says_what_is_not_known_of_its_ids(record: dict) -> None:
    record["plan"]["missing_ids"]["external"] = ["no image has the id <of> a lesion"]
    section = render_section([record], INTERNAL)
    assert '<a href="external/pad.html">pad</a>' in section
    assert "pad: no image has the id &lt;of&gt; a lesion." in section


def test_without_an_external_test_set_the_section_says_so() -> None:
    section = render_section([], INTERNAL)
    assert "None: nothing is known of images of another clinic or camera." in section and "<table" not in section
