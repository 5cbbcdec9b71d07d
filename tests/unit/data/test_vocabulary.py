"""Words of data sets for sex, site, age, skin type and diagnosis, in the words of the common table."""

from __future__ import annotations

import pandas as pd
import pytest

from components.data.vocabulary import (
    CONFIRMATIONS,
    SITES,
    age,
    confirmation,
    diagnosis,
    diagnosis_name,
    is_melanoma,
    sex,
    site,
    skin_type,
    translate,
)


@pytest.mark.parametrize(
    ("word", "meaning"),
    [("M", "male"), ("FEMALE", "female"), (" f ", "female"), ("", "unknown"), ("Unknown", "unknown"), ("w", "w")],
)
def test_words_for_sex(word, meaning):
    assert sex(word) == meaning


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("Head and neck", "head/neck"), ("head_neck", "head/neck"), ("FOREARM", "upper extremity"),
        ("acral", "palms/soles"),
        ("head/neck", "head/neck"), ("NaN", "unknown"), ("", "unknown"), ("Buttocks", "buttocks"), ("trunk", "torso"),
    ],
)  # fmt: skip
def test_words_for_sites(word, meaning):
    assert site(word) == meaning


def test_common_sites_are_their_own_translation():
    assert [site(word) for word in SITES] == list(SITES)


@pytest.mark.parametrize(
    ("word", "years"), [("85+", "85"), ("45.0", "45.0"), ("unknown", None), ("", None), ("0", "0"), ("45,5", "45.5")]
)
def test_words_for_ages(word, years):
    assert age(word) == years


@pytest.mark.parametrize(
    ("word", "number"),
    [("VI", "6"), ("iii", "3"), ("2.0", "2.0"), ("2,0", "2.0"), ("-1", None), ("", None), ("unknown", None)],
)
def test_words_for_skin_types(word, number):
    assert skin_type(word) == number


def test_an_open_diagnosis_is_none_and_others_stay_as_written():
    assert [diagnosis(word) for word in ("unknown", "UNK", "", "none", "Melanoma, NOS")] == [
        None, None, None, "none", "Melanoma, NOS",
    ]  # fmt: skip


def test_only_columns_that_are_there_are_translated():
    assert list(translate(pd.DataFrame({"sex": ["m"], "x": [1]}))) == ["sex", "x"]


@pytest.mark.parametrize(("word", "how"), [
    ("histo", "histology"), ("histopathology", "histology"), ("True", "histology"), ("False", "clinical"),
    ("follow_up", "follow-up"), ("serial imaging showing no change", "follow-up"),
    ("consensus", "consensus"), ("single image expert consensus", "consensus"),
    ("confocal", "confocal microscopy"), ("confocal microscopy with consensus dermoscopy", "confocal microscopy"),
    ("", "unknown"), ("n/a", "unknown"), ("seen by Dr. Smith", "other"),
])  # fmt: skip
def test_words_for_how_a_diagnosis_was_confirmed(word: str, how: str) -> None:
    assert confirmation(word) == how
    assert how in CONFIRMATIONS


@pytest.mark.parametrize(("word", "known"), [
    ("mel", True), ("MEL", True), ("melanoma", True), ("melanoma in situ", True), ("melanoma_in_situ", True),
    ("Melanoma, NOS", True), ("MelanomaInSitu", True), ("melanoma (less than 0.76 mm)", True),
    ("Lentigo maligna", True), ("non-ulcerated melanoma", True), ("melanoma, not ulcerated", True),
    ("Melanom", True), ("malignes Melanom, Breslow 0,8", True), ("mélanome", True), ("me\u0301lanome cutané", True),
    ("Melanoma maligno", True), ("меланома", True), ("悪性黒色腫", True),
    ("nv", False), ("non-melanoma skin cancer", False), ("no melanoma", False), ("kein Melanom", False),
    ("pas de mélanome", False), ("nonmelanoma", False), ("no evidence of malignant melanoma", False),
    ("naevus, melanoma excluded", False), ("melanosis", False), ("melanocytic nevus", False),
])  # fmt: skip
def test_melanoma_is_known_by_its_words(word: str, known: bool) -> None:
    assert is_melanoma(word) is known


def test_short_forms_of_diagnoses_are_spelled_out() -> None:
    assert [diagnosis_name(word) for word in ("mel", "NV", "porokeratosis")] == ["melanoma", "naevus", "porokeratosis"]
