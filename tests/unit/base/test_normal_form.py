"""The one form of compared words."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.base.normal_form import clean, clean_id, clean_path, fold

WORD = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8).map(lambda word: f"P{word}7")
NOTHING = st.text(st.sampled_from(" \t\u00a0\u2003\u202f\u3000\u200b\u2060\ufeff\u00ad\x00"), max_size=4)


@given(WORD, NOTHING, NOTHING, st.sampled_from(["NFC", "NFD"]))
def test_outer_blanks_invisible_characters_and_unicode_forms_make_no_difference(word, before, after, form):
    assert clean(before + unicodedata.normalize(form, word) + after) == clean(word)


@given(st.text())
def test_the_form_of_a_form_is_the_form(text):
    for made in (clean, clean_id, fold):
        assert made(made(text)) == made(text)


@given(WORD)
def test_a_word_in_form_c_stays_as_it_is(word):
    plain = unicodedata.normalize("NFC", word)
    assert clean(plain) == plain


def test_an_inner_blank_of_any_kind_is_a_plain_one():
    assert clean("mel\u00a0in\u2003situ") == clean("mel in situ") == "mel in situ"
    assert clean("m\u00e9l\nin situ") == "m\u00e9l\nin situ"  # a line break is visible


@pytest.mark.parametrize(("given_id", "form"), [
    ("17.0", "17"), ("17,0", "17"), ("17.00 ", "17"), ("007.0", "007"), ("17.5", "17.5"), ("P17.0", "P17.0"),
    ("1.0.0", "1.0.0"), ("17", "17"),
])  # fmt: skip
def test_a_whole_number_loses_its_decimals_and_nothing_else_does(given_id, form):
    assert clean_id(given_id) == form


@pytest.mark.parametrize("other", ["p001", "P1", "P 001", "\uff30\uff10\uff10\uff11", "P1 ", "p\u200b0001"])
def test_ids_that_differ_in_case_blanks_width_or_leading_zeros_are_similar(other):
    assert fold(other) == fold("P001")


@pytest.mark.parametrize("other", ["P10", "P01O", "Q001", "P001a", "P0010"])
def test_other_ids_are_not_similar(other):
    assert fold(other) != fold("P001")


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("nv/a.jpg", "nv/a.jpg"),
        ("./nv//a.jpg", "nv/a.jpg"),
        ("nv\\a.jpg", "nv/a.jpg"),
        ("u\u0308brige/a.jpg", "\u00fcbrige/a.jpg"),
        (" nv /a.jpg\u200b", "nv/a.jpg"),
        ("../a.jpg", "../a.jpg"),
    ],
)
def test_paths_are_compared_part_by_part(path: str, form: str) -> None:
    assert clean_path(path) == form


@pytest.mark.parametrize(
    ("written", "id_"), [("7.0", "7"), ("7,0", "7"), ("7.000", "7"), ("1,000", "1,000"), ("007", "007")]
)
def test_a_whole_number_written_as_a_decimal_is_the_number(written: str, id_: str) -> None:
    assert clean_id(written) == id_
