"""Target classes: every diagnosis has one class, and a level of diagnoses divides no class."""

from __future__ import annotations

import pytest

from components.data.labels import Labels

SCHEMES = {
    "three": {"nv": ("nv",), "keratosis": ("bkl", "akiec"), "mel": ("mel",)},
    "two": {"benign": ("nv",), "malignant": ("mel",)},
}
LABELS = Labels(scheme="three", schemes=SCHEMES)


def test_classes_and_mapping_are_those_of_the_scheme_in_use() -> None:
    assert LABELS.classes == ("nv", "keratosis", "mel")
    assert LABELS.mapping == {"nv": "nv", "bkl": "keratosis", "akiec": "keratosis", "mel": "mel"}
    assert Labels(scheme="two", schemes=SCHEMES).classes == ("benign", "malignant")


@pytest.mark.parametrize(
    ("scheme", "classes", "message"),
    [
        ("four", SCHEMES["three"], r"labels.scheme is 'four', expected one of \['s'\]"),
        ("s", {"a": ("x", "y"), "b": ("y",)}, "labels.schemes.s maps 'y' to two classes, expected one"),
        ("s", {"a": ("x",), "a ": ("y",)}, "'a' and 'a ' are one word, which differs in blanks or Unicode form alone"),
        ("s", {"\u00fc": ("x",), "u\u0308": ("y",)}, "are one word"),
        ("s", {"a": ("x",), " ": ("y",)}, "expected a word, found only blanks"),
        ("s", {"a": ("x",)}, "labels.schemes.s has 1 classes, expected at least 2"),
    ],
)
def test_a_scheme_that_is_no_mapping_is_refused(scheme: str, classes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Labels(scheme=scheme, schemes={"s": classes})


def test_levels_of_diagnoses_become_levels_of_classes() -> None:
    levels = {"low": ("nv", "scar"), "high": ("mel", "bkl", "akiec"), "none": ()}
    assert LABELS.group_classes(levels, "clinical.severity") == {
        "low": ("nv",), "high": ("keratosis", "mel"), "none": (),
    }  # fmt: skip


@pytest.mark.parametrize("levels", [{"high": ("bkl",)}, {"low": ("bkl",), "high": ("akiec",)}])
def test_a_level_that_divides_a_class_is_refused(levels: dict[str, tuple[str, ...]]) -> None:
    message = r"clinical.severity divides class 'keratosis' of labels.schemes.three, .*\['bkl', 'akiec'\]: expected all"
    with pytest.raises(ValueError, match=message):
        LABELS.group_classes(levels, "clinical.severity")
