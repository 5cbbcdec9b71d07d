"""Byte-identical images: repeats stay, contradictions go."""

from __future__ import annotations

import pandas as pd

from components.duplicates import contradictions, exact_groups


def table(*rows: tuple[str, str | None, str | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image_id", "sha256", "label"]).astype("str")


def test_groups_are_the_files_that_stand_twice() -> None:
    found = exact_groups(table(("d", "x", "mel"), ("b", "y", "mel"), ("a", "x", None), ("c", "z", "nv")))
    assert found["image_id"].tolist() == ["a", "d"]


def test_files_without_a_hash_are_no_duplicates() -> None:
    assert exact_groups(table(("a", None, "mel"), ("b", None, "nv"))).empty


def test_one_label_is_no_contradiction() -> None:
    assert contradictions(table(("a", "x", "mel"), ("b", "x", "mel"), ("c", "x", None))).empty


def test_every_copy_of_a_contradicting_file_is_found_with_its_rivals() -> None:
    rows = [("a", "x", "mel"), ("b", "x", "nv"), ("c", "x", "mel"), ("d", "x", None), ("e", "y", "bcc")]
    found = contradictions(table(*rows)).sort_values("image_id")
    assert found["image_id"].tolist() == ["a", "b", "c"]
    assert found["other"].tolist() == ["b (nv)", "a (mel), c (mel)", "b (nv)"]
    assert found.index.tolist() == [0, 1, 2]
