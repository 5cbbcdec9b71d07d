"""What a person pastes for diagnoses in no class: valid YAML with every diagnosis, and no guess without saying so."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from components.external_validation.diagnoses import SAME, SHOWN, propose, to_paste

SEVEN = {name: name for name in ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")}
TWO = {"nv": "benign", "bkl": "benign", "mel": "malignant", "bcc": "malignant"}


def targets(words: list[str], known: dict[str, str]) -> dict[str, str | None]:
    return {each.word: each.target for each in propose(pd.Series(words), known)}


@pytest.mark.parametrize(
    ("word", "target"),
    [
        ("melanoma", "mel"), ("Melanoma, NOS", "mel"), ("MEL", "mel"), ("nevus", "nv"), ("basal_cell carcinoma", "bcc"),
        ("seborrheic keratosis", "bkl"), ("AK", "akiec"), ("vascular lesion", "vasc"), ("dermatofibroma", "df"),
        ("squamous cell carcinoma", None), ("scar", None), ("m e l", "mel"), ("melanosis", None), ("", None),
    ],
)  # fmt: skip
def test_a_guess_is_made_for_known_terms_alone(word: str, target: str | None) -> None:
    (found,) = propose(pd.Series([word] * 3), SEVEN)
    assert (found.target, found.images) == (target, 3)
    assert found.reason.startswith("a guess: " if target else "no guess; null leaves these images out")


def test_the_name_of_a_class_means_one_of_its_diagnoses() -> None:
    assert targets(["malignant", "Benign", "indeterminate"], TWO) == {
        "malignant": "mel",
        "Benign": "nv",
        "indeterminate": None,
    }


def test_a_term_of_two_classes_is_not_guessed() -> None:
    assert targets(["seborrheic keratosis"], {"bkl": "a", "sk": "b"}) == {"seborrheic keratosis": None}


def test_no_term_stands_for_two_diagnoses() -> None:
    terms = [term for group in SAME for term in group]
    assert len(terms) == len(set(terms))


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True))
def test_the_line_is_yaml_with_every_word_as_it_is(words: list[str]) -> None:
    words = [word for word in words if word.isprintable()]
    text = to_paste(propose(pd.Series(words, dtype="object"), SEVEN), {"SCC": None, "NEV": "nv"}, SEVEN)
    pasted = YAML(typ="safe").load(text.split("\n")[0])["diagnoses"]
    assert set(pasted) == {"SCC", "NEV", *words}
    assert (pasted["SCC"], pasted["NEV"]) == (None, "nv") or {"SCC", "NEV"} & set(words)


def test_each_diagnosis_has_its_images_the_most_frequent_first() -> None:
    text = to_paste(propose(pd.Series(["other", *["nevus"] * 7, "melanoma", "melanoma"]), SEVEN), {}, SEVEN)
    assert text.split("\n") == [
        "diagnoses: {nevus: nv, melanoma: mel, other: null}",
        "'nevus': 7 images -> nv (a guess: publishers use it for nv or a part of it)",
        "'melanoma': 2 images -> mel (a guess: publishers use it for mel or a part of it)",
        "'other': 1 images -> null (no guess; null leaves these images out)",
        "diagnoses of the scheme: akiec, bcc, bkl, df, mel, nv, vasc",
    ]


def test_a_column_of_ids_is_not_listed_completely() -> None:
    text = to_paste(propose(pd.Series([f"case {n}" for n in range(300)]), SEVEN), {}, SEVEN)
    assert len(text.split("\n")) == SHOWN + 4
    assert f"and {300 - SHOWN} more diagnoses of {300 - SHOWN} images" in text
    assert text.endswith("is the column of the diagnosis the right one?")
