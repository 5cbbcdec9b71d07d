"""Splits: no group is divided, shares hold, and only records and seed decide."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.base.errors import DataError, LeakError
from components.data.leaks import prove_no_leak
from components.data.records import Split, check
from components.data.splits import fold_table, group_rows, split_table
from tests.unit.data.accepted_rows import BOTH, CLASSES, accepted_rows, rows_of_lesions

FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Rows with shared patients, lesions and files, some without label or patient, at least 12 lone rows a class."""
    count = draw(st.integers(0, 60))
    pick = st.lists(st.integers(0, 20), min_size=count, max_size=count)
    lesion, patient, file = draw(pick), draw(pick), draw(pick)
    label = draw(st.lists(st.sampled_from([*CLASSES, None]), min_size=count, max_size=count))
    tangled = accepted_rows(
        label=list(label),
        lesion_id=[f"l{n}" for n in lesion],
        patient_id=[f"p{n}" if n < 10 else None for n in patient],
        sha256=[f"s{n}" if n < 5 else f"own{place}" for place, n in enumerate(file)],
        source=[f"source {n % 3}" for n in file],
        twins=[f"t{n}" if n in (5, 6) else None for n in file],
    )
    lone = accepted_rows(label=[name for name in CLASSES for _ in range(12)])
    lone = lone.assign(**{name: "lone" + lone[name] for name in ("image_id", "lesion_id", "sha256")})
    return pd.concat([tangled, lone.assign(patient_id=None)], ignore_index=True).astype("str")


def test_rows_that_share_anything_are_one_group() -> None:
    table = accepted_rows(
        lesion_id=["l1", "l1", "l2", "l3", "l4", "l5"],
        patient_id=[None, "p1", "p1", None, None, None],
        sha256=["a", "b", "c", "c", "d", "e"],
    )
    groups = group_rows(table, BOTH)
    assert groups.tolist() == ["i0000"] * 4 + ["i0004", "i0005"]


def test_near_duplicates_are_one_group() -> None:
    table = accepted_rows(twins=["i0000", None, "i0000", "i0003", "i0003"])
    assert group_rows(table, ["lesion_id"]).tolist() == ["i0000", "i0001", "i0000", "i0003", "i0003"]
    assert group_rows(table.drop(columns="twins"), ["lesion_id"]).nunique() == 5


def test_a_missing_patient_joins_no_group() -> None:
    assert group_rows(accepted_rows(label=["mel", "mel", None]), BOTH).nunique() == 3


@settings(max_examples=30, deadline=None)
@given(tables())
def test_groups_are_those_of_a_naive_union(table: pd.DataFrame) -> None:
    group = {name: {name} for name in table["image_id"]}
    for column in (*BOTH, "sha256", "twins"):
        for _, rows in table.groupby(column):
            merged = set().union(*(group[name] for name in rows["image_id"]))
            group.update(dict.fromkeys(merged, merged))
    expected = [min(group[name]) for name in table["image_id"]]
    assert group_rows(table, BOTH).tolist() == expected


@settings(max_examples=30, deadline=None)
@given(tables(), st.integers(0, 5))
def test_no_patient_lesion_or_file_is_on_two_sides(table: pd.DataFrame, seed: int) -> None:
    split = split_table(table, CLASSES, BOTH, FRACTIONS, seed)
    prove_no_leak(split, table, BOTH)
    joined = table.merge(split[["image_id", "split"]], on="image_id")
    used = joined[joined["split"] != "withheld"].replace({"split": {"unlabelled": "train"}})
    for column in (*BOTH, "sha256", "twins"):
        assert (used.groupby(column)["split"].nunique() <= 1).all()
    labelled = joined[joined["label"].notna()]
    assert (pd.crosstab(labelled["label"], labelled["split"])[["train", "val", "test"]] > 0).all(axis=None)
    assert set(joined[joined["label"].isna()]["split"]) <= {"unlabelled", "withheld"}


@settings(max_examples=15, deadline=None)
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(table: pd.DataFrame, random: Random) -> None:
    order = list(range(len(table)))
    random.shuffle(order)
    pd.testing.assert_frame_equal(
        split_table(table, CLASSES, BOTH, FRACTIONS, 0),
        split_table(table.iloc[order], CLASSES, BOTH, FRACTIONS, 0),
    )


@pytest.mark.parametrize("fractions", [(0.6, 0.2, 0.2), (0.8, 0.1, 0.1), (0.34, 0.33, 0.33)])
def test_each_class_is_cut_to_the_nearest_group(fractions: tuple[float, float, float]) -> None:
    table = rows_of_lesions({"bcc": 60, "mel": 99, "nv": 1000}, per_lesion=3)
    wanted = dict(zip(("train", "val", "test"), fractions, strict=True))
    split = split_table(table, CLASSES, BOTH, wanted, 0)
    counts = pd.crosstab(split["label"], split["split"])
    for name, total in counts.sum(axis=1).items():
        for side, share in wanted.items():
            assert abs(counts.loc[name, side] - share * total) <= 3, (name, side)


@pytest.mark.parametrize("seed", range(4))
def test_patients_with_several_classes_do_not_change_the_shares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, 600, p=[0.2, 0.3, 0.5]).tolist()
    table = accepted_rows(label=labels, patient_id=[f"p{n}" for n in rng.integers(0, 300, 600)])
    split = split_table(table, CLASSES, BOTH, FRACTIONS, 0)
    shares = pd.crosstab(split["label"], split["split"], normalize="index")
    assert np.abs(shares[["train", "val", "test"]] - [0.6, 0.2, 0.2]).max(axis=None) < 0.02


def test_three_groups_are_in_three_splits() -> None:
    split = split_table(rows_of_lesions({"bcc": 3, "mel": 40, "nv": 40}), CLASSES, BOTH, FRACTIONS, 0)
    assert sorted(split[split["label"] == "bcc"]["split"]) == ["test", "train", "val"]


def test_another_seed_is_another_split() -> None:
    table = rows_of_lesions({"bcc": 30, "mel": 30, "nv": 300})
    splits = [split_table(table, CLASSES, BOTH, FRACTIONS, seed)["split"] for seed in (0, 1, 0)]
    assert (splits[0] != splits[1]).mean() > 0.3
    assert splits[0].equals(splits[2])


def test_new_lesions_move_few_of_the_old_and_none_of_another_class() -> None:
    table = rows_of_lesions({"bcc": 200, "mel": 200, "nv": 1000})
    new = accepted_rows(label=["mel"] * 20).assign(image_id=[f"new{n}" for n in range(20)])
    new = new.assign(lesion_id=new["image_id"], sha256=new["image_id"])
    before = split_table(table, CLASSES, BOTH, FRACTIONS, 0)
    after = split_table(pd.concat([table, new], ignore_index=True), CLASSES, BOTH, FRACTIONS, 0)
    both = before.merge(after, on="image_id", suffixes=("", "_after"))
    moved = both["split"] != both["split_after"]
    assert moved[both["label"] != "mel"].sum() == 0
    assert moved[both["label"] == "mel"].mean() < 0.05


def test_unlabelled_images_of_a_test_lesion_are_withheld() -> None:
    labelled = rows_of_lesions({"bcc": 20, "mel": 20, "nv": 20})
    unlabelled = labelled.assign(
        image_id="z" + labelled["image_id"], sha256="z" + labelled["sha256"], label=None
    ).astype("str")
    other = accepted_rows(label=[None]).assign(image_id="alone", lesion_id="alone", sha256="alone")
    table = pd.concat([labelled, unlabelled, other], ignore_index=True)
    split = split_table(table, CLASSES, BOTH, FRACTIONS, 0).set_index("image_id")["split"]
    expected = {"train": "unlabelled", "val": "withheld", "test": "withheld"}
    for name in labelled["image_id"]:
        assert split["z" + name] == expected[split[name]]
    assert split["alone"] == "unlabelled"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_class_with_fewer_groups_than_splits_is_named(count: int) -> None:
    table = rows_of_lesions({"bcc": 9, "mel": count * 3, "nv": 9}, per_lesion=3)
    with pytest.raises(DataError, match=f"class mel has {count} groups by .*expected at least 3.*labels.schemes"):
        split_table(table, CLASSES, BOTH, FRACTIONS, 0)


def test_a_split_without_a_class_is_an_error() -> None:
    # any three of five patients share a class, and two of the five are always in one split
    pairs = [(a, b, c) for a in range(5) for b in range(a) for c in range(b)]
    classes = [f"k{n}" for n in range(len(pairs))]
    rows = [(name, f"p{patient}") for name, three in zip(classes, pairs, strict=True) for patient in three]
    table = accepted_rows(label=[name for name, _ in rows], patient_id=[patient for _, patient in rows])
    with pytest.raises(DataError, match=r"no split in 100 tries .*split\.group_by \(params\.yaml\)"):
        split_table(table, classes, BOTH, FRACTIONS, 0)


def rows_of_sources(counts: dict[tuple[str, str], int]) -> pd.DataFrame:
    rows = [key for key, count in counts.items() for _ in range(count)]
    return accepted_rows(label=[label for label, _ in rows], source=[source for _, source in rows])


@pytest.mark.parametrize("seed", range(3))
def test_each_source_of_each_class_is_cut_to_the_nearest_group(seed: int) -> None:
    table = rows_of_sources(
        {("bcc", "a"): 50, ("bcc", "b"): 100, ("mel", "a"): 300, ("mel", "c"): 25, ("nv", "b"): 2000}
    )
    split = split_table(table, CLASSES, BOTH, FRACTIONS, seed).assign(source=table["source"])
    counts = split.groupby(["label", "source"])["split"].value_counts().unstack()
    wanted = counts.sum(axis=1).to_numpy()[:, None] * [0.6, 0.2, 0.2]
    assert np.abs(counts[["train", "val", "test"]] - wanted).max(axis=None) <= 1


def test_without_stratification_sources_are_not_cut_to_the_nearest_group() -> None:
    table = rows_of_sources({("mel", "a"): 100, ("mel", "b"): 100})
    alone = split_table(table.assign(source="one"), ["mel"], BOTH, FRACTIONS, 3).assign(source=table["source"])
    counts = alone.groupby("source")["split"].value_counts().unstack()
    assert np.abs(counts[["train", "val", "test"]] - [60, 20, 20]).max(axis=None) > 1


def test_small_sources_fall_back_to_their_class() -> None:
    table = rows_of_sources({("mel", f"clinic {n}"): 1 for n in range(30)} | {("nv", "a"): 40, ("bcc", "a"): 14})
    split = split_table(table, CLASSES, BOTH, FRACTIONS, 0)
    counts = pd.crosstab(split["label"], split["split"])[["train", "val", "test"]]
    wanted = counts.sum(axis=1).to_numpy()[:, None] * [0.6, 0.2, 0.2]
    assert np.abs(counts - wanted).max(axis=None) <= 1


@settings(max_examples=20, deadline=None)
@given(tables(), st.integers(3, 5), st.integers(0, 3))
def test_over_the_folds_every_image_is_tested_once_and_validated_once(
    table: pd.DataFrame, folds: int, seed: int
) -> None:
    turns = [fold_table(table, CLASSES, BOTH, folds=folds, fold=fold, seed=seed) for fold in range(folds)]
    labelled = turns[0]["label"].notna()
    for name in ("test", "val"):
        times = sum((turn["split"] == name).astype(int) for turn in turns)
        assert (times == labelled.astype(int)).all()
    for fold, turn in enumerate(turns):
        prove_no_leak(check(turn, Split), table, BOTH)
        pd.testing.assert_series_equal(turn["fold"], turns[0]["fold"])
        assert (turn[labelled & (turn["fold"] == fold)]["split"] == "test").all()
        assert (turn[labelled & (turn["fold"] == (fold + 1) % folds)]["split"] == "val").all()
        assert set(turn[turn["split"] == "test"]["label"]) == set(CLASSES)


def test_folds_are_of_equal_size_in_each_class_and_source() -> None:
    table = rows_of_sources({("bcc", "a"): 50, ("mel", "a"): 300, ("mel", "b"): 75, ("nv", "b"): 2000})
    split = fold_table(table, CLASSES, BOTH, folds=5, fold=0, seed=0).assign(source=table["source"])
    counts = split.groupby(["label", "source"])["fold"].value_counts().unstack()
    assert (counts.to_numpy() == counts.sum(axis=1).to_numpy()[:, None] / 5).all()


def test_a_class_with_fewer_groups_than_folds_is_named() -> None:
    with pytest.raises(DataError, match=r"class mel has 4 groups by .*expected at least 5, one for each of fold 0, "):
        fold_table(rows_of_lesions({"bcc": 9, "mel": 4, "nv": 9}), CLASSES, BOTH, folds=5, fold=0, seed=0)


@pytest.mark.real
def test_ham10000_is_split_by_lesion_with_equal_shares(ham10000: Path) -> None:
    meta = pd.read_csv(ham10000 / "HAM10000_metadata.csv", dtype="str")
    table = accepted_rows(image_id=meta["image_id"].tolist(), label=meta["dx"].tolist())
    table = table.assign(lesion_id=meta["lesion_id"], sha256=meta["image_id"])
    split = split_table(table, sorted(set(meta["dx"])), BOTH, FRACTIONS, 0)
    assert split["group"].nunique() == 7470
    prove_no_leak(split, table, BOTH)
    shares = pd.crosstab(split["label"], split["split"], normalize="index")[["train", "val", "test"]]
    assert np.abs(shares - [0.6, 0.2, 0.2]).max(axis=None) < 0.01


@pytest.mark.real
def test_isic2020_crosses_patients_unless_they_are_grouped(ham10000: Path) -> None:
    meta = pd.read_csv(ham10000.parent / "tables" / "ISIC_2020_Training_GroundTruth_v2.csv", dtype="str")
    table = accepted_rows(image_id=meta["image_name"].tolist(), label=meta["benign_malignant"].tolist())
    table = table.assign(lesion_id=meta["lesion_id"], patient_id=meta["patient_id"], sha256=meta["image_name"])
    classes = ["benign", "malignant"]
    prove_no_leak(split_table(table, classes, BOTH, FRACTIONS, 0), table, BOTH)
    by_lesion = split_table(table, classes, ["lesion_id"], FRACTIONS, 0)
    with pytest.raises(LeakError, match=r"more like it.*split\.group_by lacks patient_id"):
        prove_no_leak(by_lesion, table, ["lesion_id"])
