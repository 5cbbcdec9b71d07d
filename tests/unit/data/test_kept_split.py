"""A kept split: what stood in test stays in test, whatever comes, goes, or is found to be one lesion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.base.errors import DataError
from components.data.kept_split import Keeping, check_kept, kept_table, recognise
from components.data.leaks import prove_no_leak
from components.data.splits import group_rows, split_table
from tests.unit.data.accepted_rows import BOTH, CLASSES, accepted_rows, rows_of_lesions
from tests.unit.data.test_splits import FRACTIONS, tables


def keep(table: pd.DataFrame, kept: pd.DataFrame, classes: Sequence[str] = CLASSES) -> tuple[pd.DataFrame, Keeping]:
    """The split of a table that keeps a former one, by image_id, without a leak."""
    found = recognise(table, group_rows(table, BOTH), kept, BOTH)
    split = split_table(table, classes, BOTH, FRACTIONS, 0, found.homes)
    prove_no_leak(split, table, BOTH)
    return split, found


def former(table: pd.DataFrame, classes: Sequence[str] = CLASSES) -> tuple[pd.DataFrame, pd.DataFrame]:
    """A first split, and the table to keep it."""
    split = split_table(table, classes, BOTH, FRACTIONS, 0)
    return split, kept_table(table, split)


def withhold(table: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The rows without a tenth of their groups."""
    group = group_rows(table, BOTH)
    names = np.array(sorted(set(group)))
    gone = np.random.default_rng(seed).choice(names, len(names) // 10, replace=False)
    return table[~group.isin(gone)]


@settings(max_examples=10, deadline=None)
@given(tables(), st.integers(0, 5))
def test_lesions_withheld_and_added_again_move_no_other(table: pd.DataFrame, seed: int) -> None:
    part = withhold(table, seed)
    try:
        before, kept = former(part)
    except DataError:  # too few lesions of a class are left for a split
        return
    after, found = keep(table, kept)
    both = before.merge(after, on="image_id", suffixes=("", "_after"))
    assert len(both) == len(part)
    assert (both["split"] == both["split_after"]).all()
    assert not any(found.moved.values()) and not any(found.missing.values())


@settings(max_examples=6, deadline=None)
@given(tables())
def test_a_split_that_keeps_itself_is_the_same(table: pd.DataFrame) -> None:
    before, kept = former(table)
    after, found = keep(table, kept)
    pd.testing.assert_frame_equal(after, before)
    assert len(found.homes) == before["group"].nunique()


def test_new_lesions_bring_each_class_back_to_its_shares() -> None:
    table = rows_of_lesions({"bcc": 40, "mel": 100, "nv": 400})
    part = table.groupby("label").head(30)
    _, kept = former(part)
    split, found = keep(table, kept)
    counts = pd.crosstab(split["label"], split["split"])[["train", "val", "test"]]
    wanted = counts.sum(axis=1).to_numpy()[:, None] * [0.6, 0.2, 0.2]
    assert np.abs(counts - wanted).max(axis=None) <= 1
    assert found.homes.to_dict() == kept.set_index("group")["home"].to_dict()
    assert set(found.homes.index) == set(part["image_id"])


def test_lesions_that_come_a_few_a_night_keep_the_shares() -> None:
    table = rows_of_lesions({"bcc": 20, "mel": 60, "nv": 60})
    split, kept = former(table)
    for night in range(8):
        names: list[str | None] = [f"z{night:02d}-{n}" for n in range(3)]
        new = accepted_rows(image_id=names, label=["nv"] * 3, lesion_id=names, sha256=names)
        table = pd.concat([table, new], ignore_index=True).astype("str")
        split, _ = keep(table, kept)
        kept = kept_table(table, split, kept)
    shares = (split[split["label"] == "nv"]["split"].value_counts() / 84)[["train", "val", "test"]]
    assert np.abs(shares - [0.6, 0.2, 0.2]).max() <= 0.02


def test_a_new_image_goes_to_its_lesion_and_a_renamed_file_to_its_content() -> None:
    table = rows_of_lesions({"bcc": 20, "mel": 20, "nv": 20})
    before, kept = former(table)
    name = before[before["split"] == "test"]["image_id"].iloc[0]
    row = table[table["image_id"] == name]
    second = row.assign(image_id="new", sha256="new")  # only its lesion is known
    renamed = row.assign(image_id="renamed", lesion_id="renamed")  # only its content is known
    for others in (second, renamed):
        changed = pd.concat([table[table["image_id"] != name], others], ignore_index=True)
        after, found = keep(changed, kept)
        assert after.set_index("image_id")["split"][others["image_id"].iloc[0]] == "test"
        assert not any(found.missing.values())


def test_lesions_that_become_one_go_to_test_and_are_counted() -> None:
    table = rows_of_lesions({"bcc": 20, "mel": 20, "nv": 20})
    before, kept = former(table)
    home = before.set_index("image_id")["split"]
    train, val, test = (home.index[(home == name) & home.index.isin(table["image_id"])] for name in
                        ("train", "val", "test"))  # fmt: skip
    same = {train[0]: "one", test[0]: "one", train[1]: "two", val[0]: "two", val[1]: "three", test[1]: "three"}
    joined = table.assign(patient_id=table["image_id"].map(same)).astype("str")
    after, found = keep(joined, kept)
    now = after.set_index("image_id")["split"]
    assert found.moved == {"train_to_val": 1, "train_to_test": 1, "val_to_test": 1}
    assert [now[train[0]], now[train[1]], now[val[1]]] == ["test", "val", "test"]
    others = home.index.difference([train[0], train[1], val[1]])
    assert (now[others] == home[others]).all()


def test_lesions_that_are_gone_are_counted_and_still_known_when_they_come_back() -> None:
    table = rows_of_lesions({"bcc": 20, "mel": 20, "nv": 40})
    before, kept = former(table)
    tests = before[before["split"] == "test"]["image_id"]
    gone = table[table["image_id"].isin(tests.iloc[[0, 5]])]
    part = table.drop(gone.index)
    split, found = keep(part, kept)
    assert found.missing == {"train": 0, "val": 0, "test": 2}
    again = kept_table(part, split, kept)
    after, found = keep(table, again)
    assert not any(found.missing.values())
    assert after.set_index("image_id")["split"].equals(before.set_index("image_id")["split"])


def test_a_label_that_comes_later_leaves_pretraining_images_in_train_and_others_in_test() -> None:
    labelled = rows_of_lesions({"bcc": 20, "mel": 20, "nv": 20})
    bare = accepted_rows(image_id=["bare0", "bare1"], label=[None, None])
    bare = bare.assign(lesion_id=bare["image_id"], sha256=bare["image_id"])
    table = pd.concat([labelled, bare], ignore_index=True).astype("str")
    before, kept = former(table)
    test = before[before["split"] == "test"]["image_id"].iloc[0]
    label = table["label"].where(~table["image_id"].isin(["bare0", "bare1"]), "mel").mask(table["image_id"] == test)
    after, _ = keep(table.assign(label=label), kept)
    now = after.set_index("image_id")["split"]
    assert (now[["bare0", "bare1"]] == "train").all()  # an encoder has seen them
    assert now[test] == "withheld"  # nothing may be pretrained on it
    assert kept_table(table, after).set_index("image_id")["home"][test] == "test"


def test_tables_of_different_images_are_refused() -> None:
    table = rows_of_lesions({"bcc": 20, "mel": 20, "nv": 20})
    split, kept = former(table)
    with pytest.raises(DataError, match="split has 60 images and the accepted table 59, expected the same images"):
        kept_table(table.iloc[1:], split)
    with pytest.raises(DataError, match=r"kept.csv: is no split to keep .*; `dermflow data keep-split` writes one"):
        check_kept(kept.replace({"home": {"train": "elsewhere"}}), "kept.csv")
    with pytest.raises(DataError, match=r"kept.csv: is no split to keep .*sha256"):
        check_kept(kept.drop(columns="sha256"), "kept.csv")


@pytest.mark.real
def test_no_test_lesion_of_ham10000_moves_when_a_tenth_comes_back(ham10000: Path) -> None:
    meta = pd.read_csv(ham10000 / "HAM10000_metadata.csv", dtype="str")
    table = accepted_rows(image_id=meta["image_id"].tolist(), label=meta["dx"].tolist())
    table = table.assign(lesion_id=meta["lesion_id"], sha256=meta["image_id"])
    classes = sorted(set(meta["dx"]))
    part = withhold(table, 0)
    before, kept = former(part, classes)
    group = before.drop_duplicates("group").set_index("group")["split"]
    anew = split_table(table, classes, BOTH, FRACTIONS, 0).drop_duplicates("group").set_index("group")["split"]
    after, found = keep(table, kept, classes)
    now = after.drop_duplicates("group").set_index("group")["split"]
    test = group.index[group == "test"]
    assert (anew[test] != "test").sum() > 0  # without keeping, lesions leave test
    assert (now[group.index] == group).all()
    assert len(found.homes) == len(group) == 7470 - 747
    shares = pd.crosstab(after["label"], after["split"], normalize="index")[["train", "val", "test"]]
    assert np.abs(shares - [0.6, 0.2, 0.2]).max(axis=None) < 0.012
