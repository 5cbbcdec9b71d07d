"""Leaks between splits, and between a study and an external test set, are found and named."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.base.errors import LeakError
from components.data.leaks import prove_external, prove_no_leak
from tests.unit.data.accepted_rows import BOTH, accepted_rows

SPLITS = ("train", "val", "test", "unlabelled", "withheld")


def test_a_patient_on_two_sides_stops_the_run_and_names_the_setting() -> None:
    table = accepted_rows(label=["mel"] * 40, patient_id=["p_017"] * 2 + [f"p_1{n:02d}" for n in range(38)])
    split = table[["image_id"]].assign(split=["train", "test"] + ["train"] * 38)
    message = r"patient p_017 is in train and test: split\.group_by lacks patient_id \(params\.yaml\)"
    with pytest.raises(LeakError, match=message):
        prove_no_leak(split, table, ["lesion_id"])


NOUNS = {"lesion_id": "lesion", "patient_id": "patient", "sha256": "image content", "twins": "near-duplicate of"}


@pytest.mark.parametrize("column", NOUNS)
def test_a_shared_identity_is_found_and_its_images_are_named(column: str) -> None:
    table = accepted_rows(**{column: ["same", "same", "same"]})
    split = table[["image_id"]].assign(split=["val", "test", "unlabelled"])
    images = r"; images i0002 \(unlabelled\), i0000 \(val\), i0001 \(test\)$"
    with pytest.raises(LeakError, match=f"^{NOUNS[column]} same is in unlabelled, val and test: .*{images}"):
        prove_no_leak(split, table, ["lesion_id"])


@pytest.mark.parametrize("column", ["sha256", "twins"])
@pytest.mark.parametrize("side", ["val", "test"])
def test_an_unlabelled_copy_of_a_val_or_test_image_is_not_pretrained_on(column: str, side: str) -> None:
    table = accepted_rows(**{column: ["a", "b", "a", "b"]}, label=["nv", "nv", None, None])
    split = table[["image_id"]].assign(split=["train", side, "unlabelled", "unlabelled"])
    message = rf"{NOUNS[column]} b is in unlabelled and {side}: run `dvc repro -f split`; images i0003 .*, i0001 "
    with pytest.raises(LeakError, match=message):
        prove_no_leak(split, table, BOTH)
    prove_no_leak(split.assign(split=["train", side, "unlabelled", "withheld"]), table, BOTH)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(SPLITS)), max_size=8))
def test_leaks_are_those_of_a_naive_loop(rows: list[tuple[int, str]]) -> None:
    used = [(n, "train" if place == "unlabelled" else place) for n, place in rows if place != "withheld"]
    leaks = any(a == b and here != there for a, here in used for b, there in used)
    table = accepted_rows(twins=[f"t{n}" for n, _ in rows] or [None])
    split = table[["image_id"]].assign(split=[place for _, place in rows] or ["train"])
    if not leaks:
        prove_no_leak(split, table, BOTH)
        return
    with pytest.raises(LeakError, match=r"near-duplicate of t\d is in"):
        prove_no_leak(split, table, BOTH)


def cohort(**columns: list[str | None]) -> pd.DataFrame:
    table = accepted_rows(**columns)
    return table.assign(image_id="x" + table["image_id"], source="elsewhere")


NO_PAIRS = pd.DataFrame({"first": [], "second": []}, dtype="str")
STUDY = accepted_rows(
    lesion_id=["l0", "l1", "l2", "l3", "l4"],
    patient_id=["p0", "p1", "p2", "p3", None],
    sha256=["s0", "s1", "s2", "s3", "s4"],
)
STUDY_SPLIT = STUDY[["image_id"]].assign(split=["train", "unlabelled", "val", "test", "withheld"])
DISTINCT = {"lesion_id": ["a", "b"], "patient_id": ["c", None], "sha256": ["d", "e"]}


@pytest.mark.parametrize("ours, side", [(0, "train"), (1, "unlabelled"), (2, "val"), (3, "test")])
@pytest.mark.parametrize(
    "column, letter, words",
    [
        ("sha256", "s", "image xi0001 has the content of"),
        ("patient_id", "p", "patient p{} is that of"),
        ("lesion_id", "l", "lesion l{} is that of"),
    ],
)
def test_an_external_image_that_the_study_uses_is_refused(
    ours: int, side: str, column: str, letter: str, words: str
) -> None:
    overlapping = cohort(**(DISTINCT | {column: ["other", f"{letter}{ours}"]}))
    message = (
        rf"^external test set pad: {words.format(ours)} image i000{ours}, which is in {side}: .*\(external, params"
    )
    with pytest.raises(LeakError, match=message):
        prove_external("pad", overlapping, STUDY, STUDY_SPLIT, NO_PAIRS)


@pytest.mark.parametrize("swapped", [False, True])
def test_an_external_near_duplicate_is_refused(swapped: bool) -> None:
    pairs = pd.DataFrame({"first": ["xi0000", "xi0001"], "second": ["i0002", "i0002"]})
    pairs = pairs.rename(columns={"first": "second", "second": "first"}) if swapped else pairs
    message = r"image xi0000 is a near-duplicate of image i0002, which is in val \(1 more like it\): "
    with pytest.raises(LeakError, match=message):
        prove_external("pad", cohort(**DISTINCT), STUDY, STUDY_SPLIT, pairs)


def test_an_overlap_with_test_is_refused_with_its_own_reason() -> None:
    with pytest.raises(LeakError, match="is in test: a difference between the two would compare it with itself"):
        prove_external("pad", cohort(**(DISTINCT | {"sha256": ["s3", "e"]})), STUDY, STUDY_SPLIT, NO_PAIRS)


def test_an_external_set_may_share_withheld_images_and_repeat_its_own() -> None:
    external = cohort(lesion_id=["l4", "l4", "q"], patient_id=[None, None, None], sha256=["s4", "s4", "s4"])
    pairs = pd.DataFrame({"first": ["xi0000", "xi0001", "i0000"], "second": ["i0004", "xi0002", "i0001"]})
    prove_external("pad", external, STUDY, STUDY_SPLIT, pairs)


def test_withheld_images_leak_nothing() -> None:
    table = accepted_rows(lesion_id=["same", "same"])
    prove_no_leak(table[["image_id"]].assign(split=["test", "withheld"]), table, BOTH)
