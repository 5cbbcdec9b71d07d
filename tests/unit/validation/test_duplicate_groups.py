"""Groups are connected components; reviews, contradictions and identical files are found by their columns."""

from __future__ import annotations

import numpy as np
import pandas as pd

from components.validation.duplicate_groups import PAIR_COLUMNS, contradictions, exact_groups, name_groups, review


def table(*rows: tuple[str, str | None, str | None]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["image_id", "sha256", "label"]).astype("str")


def pairs(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame([(*row, 3, "identity", 0.99) for row in rows], columns=list(PAIR_COLUMNS))


def test_a_chain_is_one_group_named_after_its_smallest() -> None:
    rows = table(*((name, name, None) for name in "edcbaf"))
    groups = name_groups(rows, pairs(("b", "d"), ("d", "e"), ("a", "c")))
    assert dict(zip(rows["image_id"], groups.fillna("alone"), strict=True)) == {
        "a": "a", "c": "a", "b": "b", "d": "b", "e": "b", "f": "alone",
    }  # fmt: skip
    assert groups.dtype == "str"


def test_groups_are_the_connected_components_that_scipy_finds() -> None:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rng = np.random.default_rng(0)
    names = [f"{place:03}" for place in range(300)]
    ends = np.sort(rng.integers(0, 300, (150, 2)), axis=1)
    ends = ends[ends[:, 0] < ends[:, 1]]
    groups = name_groups(
        table(*((name, name, None) for name in names)), pairs(*((names[a], names[b]) for a, b in ends))
    )
    labels = connected_components(coo_array((np.ones(len(ends)), tuple(ends.T)), shape=(300, 300)), directed=False)[1]
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        wanted = {names[members[0]]} if len(members) > 1 else {None}
        assert {None if pd.isna(name) else name for name in groups.iloc[members]} == wanted


def test_groups_keep_the_tables_index_and_null_hashes_group_nobody() -> None:
    rows = table(("b", None, None), ("a", None, None), ("d", "x", None), ("c", "x", None)).set_axis([7, 3, 9, 1])
    groups = name_groups(rows, pairs())
    assert groups.index.tolist() == [7, 3, 9, 1]
    assert groups.fillna("").tolist() == ["", "", "c", "c"]


def test_review_lists_pairs_that_contradict_and_says_in_what() -> None:
    rows = pd.DataFrame(
        [("a", "nv", "p1", "l1"), ("b", "mel", "p2", "l1"), ("c", None, None, "l1"), ("d", "nv", "p1", "l2")],
        columns=["image_id", "label", "patient_id", "lesion_id"],
    )
    found = review(rows, pairs(("a", "d"), ("a", "b"), ("a", "c"), ("c", "d")))
    assert found[["first", "second", "differs"]].to_numpy().tolist() == [
        ["a", "b", "label, patient_id"],
        ["a", "d", "lesion_id"],
        ["c", "d", "lesion_id"],
    ]
    assert found.loc[0, ["first_label", "second_label"]].tolist() == ["nv", "mel"]
    assert review(rows, pairs(("a", "c"))).empty


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
