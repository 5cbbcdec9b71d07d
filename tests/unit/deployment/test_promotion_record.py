"""The record of promotions: every change of an earlier line is found."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.base.errors import DataError
from components.deployment.promotion_record import START, as_line, check_head, hash_entry, link, read_entries


def chain(count: int) -> list[dict]:
    entries: list[dict] = []
    for place in range(count):
        entries.append(link(entries, {"kind": "proposed", "version": str(place), "who": {"user": "é"}}))
    return entries


def text(entries: list[dict]) -> str:
    return "".join(as_line(each) for each in entries)


def test_each_entry_names_the_sha256_of_the_line_before() -> None:
    lines = text(chain(3)).splitlines(keepends=True)
    expected = [START, *(hashlib.sha256(line.encode()).hexdigest() for line in lines[:-1])]
    assert [json.loads(line)["previous"] for line in lines] == expected
    assert read_entries("".join(lines), "record") == chain(3)
    assert read_entries("", "record") == []


@given(st.data())
def test_a_changed_character_before_the_last_line_is_found(data: st.DataObject) -> None:
    whole = text(chain(4))
    end = whole[:-1].rindex("\n") + 1
    place = data.draw(st.integers(0, end - 1))
    letter = data.draw(st.characters(codec="utf-8").filter(lambda each: each != whole[place]))
    with pytest.raises(DataError, match="record, line"):
        read_entries(whole[:place] + letter + whole[place + 1 :], "record")


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_a_removed_line_is_found(removed: int) -> None:
    entries = chain(4)
    del entries[removed]
    with pytest.raises(
        DataError, match=rf"line {removed + 1}: is entry {removed + 2} .*, expected entry {removed + 1}"
    ):
        read_entries(text(entries), "record")


def test_removed_last_lines_are_found_by_the_head() -> None:
    entries = chain(3)
    check_head(entries, hash_entry(entries[2]), "record")
    check_head(entries, None, "record")
    with pytest.raises(DataError, match=r"record: lacks the entry .* that MLflow names: lines were removed"):
        check_head(entries[:2], hash_entry(entries[2]), "record")


@pytest.mark.parametrize("line", ["{", "[]\n", '{"b": 1,  "a": 2}\n'])
def test_a_line_of_another_form_is_refused(line: str) -> None:
    with pytest.raises(DataError, match=r"record, line 1: is not (JSON|written as Dermflow writes it)"):
        read_entries(line, "record")
