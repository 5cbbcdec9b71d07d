"""Splits: nobody crosses, shares hold, and nothing but records and seed decides."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.base.errors import DataError, LeakError
from components.base.log import SilentLog
from components.data.labels import Labels
from components.data.records import Split, check, conform, write_records
from components.data.splits import fold_table, group_rows, prove_external, prove_no_leak, split_table
from flows.settings.data import Split as SplitSettings
from flows.split import split as split_stage

CLASSES = ("bcc", "mel", "nv")
BOTH = ("patient_id", "lesion_id")
PLACES = ("train", "val", "test", "unlabelled", "withheld")
FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}


def records(**columns: list[str | None]) -> pd.DataFrame:
    """A table of accepted rows; what is not given is one's own."""
    count = len(next(iter(columns.values())))
    names: list[str | None] = [f"i{n:04d}" for n in range(count)]
    blank: list[str | None] = [None] * count
    plain = {"image_id": names, "label": blank, "lesion_id": names, "patient_id": blank, "sha256": names}
    plain |= {"source": ["here"] * count, "twins": blank}
    return pd.DataFrame(plain | columns).astype("str")


def lesions(images: dict[str, int], per_lesion: int = 1) -> pd.DataFrame:
    labels: list[str | None] = [name for name, count in images.items() for _ in range(count)]
    ids: list[str | None] = [f"{name}-{n // per_lesion}" for n, name in enumerate(labels)]
    return records(label=labels, lesion_id=ids)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Rows with shared patients, lesions and files, some without label or patient, at least 12 lone rows a class."""
    count = draw(st.integers(0, 60))
    pick = st.lists(st.integers(0, 20), min_size=count, max_size=count)
    lesion, patient, file = draw(pick), draw(pick), draw(pick)
    label = draw(st.lists(st.sampled_from([*CLASSES, None]), min_size=count, max_size=count))
    tangled = records(
        label=list(label),
        lesion_id=[f"l{n}" for n in lesion],
        patient_id=[f"p{n}" if n < 10 else None for n in patient],
        sha256=[f"s{n}" if n < 5 else f"own{place}" for place, n in enumerate(file)],
        source=[f"source {n % 3}" for n in file],
        twins=[f"t{n}" if n in (5, 6) else None for n in file],
    )
    lone = records(label=[name for name in CLASSES for _ in range(12)])
    lone = lone.assign(**{name: "lone" + lone[name] for name in ("image_id", "lesion_id", "sha256")})
    return pd.concat([tangled, lone.assign(patient_id=None)], ignore_index=True).astype("str")


def test_rows_that_share_anything_are_one_group() -> None:
    table = records(
        lesion_id=["l1", "l1", "l2", "l3", "l4", "l5"],
        patient_id=[None, "p1", "p1", None, None, None],
        sha256=["a", "b", "c", "c", "d", "e"],
    )
    groups = group_rows(table, BOTH)
    assert groups.tolist() == ["i0000"] * 4 + ["i0004", "i0005"]


def test_near_duplicates_are_one_group_whatever_else_they_are() -> None:
    table = records(twins=["i0000", None, "i0000", "i0003", "i0003"])
    assert group_rows(table, ["lesion_id"]).tolist() == ["i0000", "i0001", "i0000", "i0003", "i0003"]
    assert group_rows(table.drop(columns="twins"), ["lesion_id"]).nunique() == 5


def test_a_missing_patient_joins_nobody() -> None:
    assert group_rows(records(label=["mel", "mel", None]), BOTH).nunique() == 3


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
    table = lesions({"bcc": 60, "mel": 99, "nv": 1000}, per_lesion=3)
    wanted = dict(zip(("train", "val", "test"), fractions, strict=True))
    split = split_table(table, CLASSES, BOTH, wanted, 0)
    counts = pd.crosstab(split["label"], split["split"])
    for name, total in counts.sum(axis=1).items():
        for side, share in wanted.items():
            assert abs(counts.loc[name, side] - share * total) <= 3, (name, side)


@pytest.mark.parametrize("seed", range(4))
def test_patients_with_several_classes_do_not_bend_the_shares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(CLASSES, 600, p=[0.2, 0.3, 0.5]).tolist()
    table = records(label=labels, patient_id=[f"p{n}" for n in rng.integers(0, 300, 600)])
    split = split_table(table, CLASSES, BOTH, FRACTIONS, 0)
    shares = pd.crosstab(split["label"], split["split"], normalize="index")
    assert np.abs(shares[["train", "val", "test"]] - [0.6, 0.2, 0.2]).max(axis=None) < 0.02


def test_three_groups_stand_in_three_splits() -> None:
    split = split_table(lesions({"bcc": 3, "mel": 40, "nv": 40}), CLASSES, BOTH, FRACTIONS, 0)
    assert sorted(split[split["label"] == "bcc"]["split"]) == ["test", "train", "val"]


def test_another_seed_is_another_split() -> None:
    table = lesions({"bcc": 30, "mel": 30, "nv": 300})
    splits = [split_table(table, CLASSES, BOTH, FRACTIONS, seed)["split"] for seed in (0, 1, 0)]
    assert (splits[0] != splits[1]).mean() > 0.3
    assert splits[0].equals(splits[2])


def test_new_lesions_move_few_of_the_old_and_none_of_another_class() -> None:
    table = lesions({"bcc": 200, "mel": 200, "nv": 1000})
    new = records(label=["mel"] * 20).assign(image_id=[f"new{n}" for n in range(20)])
    new = new.assign(lesion_id=new["image_id"], sha256=new["image_id"])
    before = split_table(table, CLASSES, BOTH, FRACTIONS, 0)
    after = split_table(pd.concat([table, new], ignore_index=True), CLASSES, BOTH, FRACTIONS, 0)
    both = before.merge(after, on="image_id", suffixes=("", "_after"))
    moved = both["split"] != both["split_after"]
    assert moved[both["label"] != "mel"].sum() == 0
    assert moved[both["label"] == "mel"].mean() < 0.05


def test_unlabelled_images_of_a_test_lesion_are_withheld() -> None:
    labelled = lesions({"bcc": 20, "mel": 20, "nv": 20})
    bare = labelled.assign(image_id="z" + labelled["image_id"], sha256="z" + labelled["sha256"], label=None).astype(
        "str"
    )
    stranger = records(label=[None]).assign(image_id="alone", lesion_id="alone", sha256="alone")
    table = pd.concat([labelled, bare, stranger], ignore_index=True)
    split = split_table(table, CLASSES, BOTH, FRACTIONS, 0).set_index("image_id")["split"]
    twins = {"train": "unlabelled", "val": "withheld", "test": "withheld"}
    for name in labelled["image_id"]:
        assert split["z" + name] == twins[split[name]]
    assert split["alone"] == "unlabelled"


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_class_with_fewer_groups_than_splits_is_named(count: int) -> None:
    table = lesions({"bcc": 9, "mel": count * 3, "nv": 9}, per_lesion=3)
    with pytest.raises(DataError, match=f"class mel has {count} groups by .*expected at least 3.*labels.schemes"):
        split_table(table, CLASSES, BOTH, FRACTIONS, 0)


def test_classes_that_crowd_each_other_out_are_no_silent_split() -> None:
    # any three of five patients share a class, and two of the five are always in one split
    pairs = [(a, b, c) for a in range(5) for b in range(a) for c in range(b)]
    classes = [f"k{n}" for n in range(len(pairs))]
    rows = [(name, f"p{patient}") for name, three in zip(classes, pairs, strict=True) for patient in three]
    table = records(label=[name for name, _ in rows], patient_id=[patient for _, patient in rows])
    with pytest.raises(DataError, match=r"no split in 100 tries .*split\.group_by \(params\.yaml\)"):
        split_table(table, classes, BOTH, FRACTIONS, 0)


def test_a_patient_who_crosses_stops_the_run_and_names_the_setting() -> None:
    table = records(label=["mel"] * 40, patient_id=["p_017"] * 2 + [f"p_1{n:02d}" for n in range(38)])
    split = table[["image_id"]].assign(split=["train", "test"] + ["train"] * 38)
    message = r"patient p_017 is in train and test: split\.group_by lacks patient_id \(params\.yaml\)"
    with pytest.raises(LeakError, match=message):
        prove_no_leak(split, table, ["lesion_id"])


NOUNS = {"lesion_id": "lesion", "patient_id": "patient", "sha256": "image content", "twins": "near-duplicate of"}


@pytest.mark.parametrize("column", NOUNS)
def test_whatever_crosses_is_found_and_its_images_are_named(column: str) -> None:
    table = records(**{column: ["same", "same", "same"]})
    split = table[["image_id"]].assign(split=["val", "test", "unlabelled"])
    images = r"; images i0002 \(unlabelled\), i0000 \(val\), i0001 \(test\)$"
    with pytest.raises(LeakError, match=f"^{NOUNS[column]} same is in unlabelled, val and test: .*{images}"):
        prove_no_leak(split, table, ["lesion_id"])


@pytest.mark.parametrize("column", ["sha256", "twins"])
@pytest.mark.parametrize("side", ["val", "test"])
def test_an_unlabelled_copy_of_a_val_or_test_image_is_not_pretrained_on(column: str, side: str) -> None:
    table = records(**{column: ["a", "b", "a", "b"]}, label=["nv", "nv", None, None])
    split = table[["image_id"]].assign(split=["train", side, "unlabelled", "unlabelled"])
    message = rf"{NOUNS[column]} b is in unlabelled and {side}: run `dvc repro -f split`; images i0003 .*, i0001 "
    with pytest.raises(LeakError, match=message):
        prove_no_leak(split, table, BOTH)
    prove_no_leak(split.assign(split=["train", side, "unlabelled", "withheld"]), table, BOTH)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(PLACES)), max_size=8))
def test_leaks_are_those_of_a_naive_loop(rows: list[tuple[int, str]]) -> None:
    used = [(n, "train" if place == "unlabelled" else place) for n, place in rows if place != "withheld"]
    leaks = any(a == b and here != there for a, here in used for b, there in used)
    table = records(twins=[f"t{n}" for n, _ in rows] or [None])
    split = table[["image_id"]].assign(split=[place for _, place in rows] or ["train"])
    if not leaks:
        prove_no_leak(split, table, BOTH)
        return
    with pytest.raises(LeakError, match=r"near-duplicate of t\d is in"):
        prove_no_leak(split, table, BOTH)


def sources(counts: dict[tuple[str, str], int]) -> pd.DataFrame:
    rows = [key for key, count in counts.items() for _ in range(count)]
    return records(label=[label for label, _ in rows], source=[source for _, source in rows])


@pytest.mark.parametrize("seed", range(3))
def test_each_source_of_each_class_is_cut_to_the_nearest_group(seed: int) -> None:
    table = sources({("bcc", "a"): 50, ("bcc", "b"): 100, ("mel", "a"): 300, ("mel", "c"): 25, ("nv", "b"): 2000})
    split = split_table(table, CLASSES, BOTH, FRACTIONS, seed).assign(source=table["source"])
    counts = split.groupby(["label", "source"])["split"].value_counts().unstack()
    wanted = counts.sum(axis=1).to_numpy()[:, None] * [0.6, 0.2, 0.2]
    assert np.abs(counts[["train", "val", "test"]] - wanted).max(axis=None) <= 1


def test_a_source_left_to_chance_would_not_be() -> None:
    table = sources({("mel", "a"): 100, ("mel", "b"): 100})
    alone = split_table(table.assign(source="one"), ["mel"], BOTH, FRACTIONS, 3).assign(source=table["source"])
    counts = alone.groupby("source")["split"].value_counts().unstack()
    assert np.abs(counts[["train", "val", "test"]] - [60, 20, 20]).max(axis=None) > 1


def test_small_sources_fall_back_to_their_class() -> None:
    table = sources({("mel", f"clinic {n}"): 1 for n in range(30)} | {("nv", "a"): 40, ("bcc", "a"): 14})
    split = split_table(table, CLASSES, BOTH, FRACTIONS, 0)
    counts = pd.crosstab(split["label"], split["split"])[["train", "val", "test"]]
    wanted = counts.sum(axis=1).to_numpy()[:, None] * [0.6, 0.2, 0.2]
    assert np.abs(counts - wanted).max(axis=None) <= 1


@settings(max_examples=20, deadline=None)
@given(tables(), st.integers(3, 5), st.integers(0, 3))
def test_over_the_folds_every_image_is_tested_once_and_validated_once(
    table: pd.DataFrame, folds: int, seed: int
) -> None:
    turns = [fold_table(table, CLASSES, BOTH, folds, fold, seed) for fold in range(folds)]
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
    table = sources({("bcc", "a"): 50, ("mel", "a"): 300, ("mel", "b"): 75, ("nv", "b"): 2000})
    split = fold_table(table, CLASSES, BOTH, 5, 0, 0).assign(source=table["source"])
    counts = split.groupby(["label", "source"])["fold"].value_counts().unstack()
    assert (counts.to_numpy() == counts.sum(axis=1).to_numpy()[:, None] / 5).all()


def test_a_class_with_fewer_groups_than_folds_is_named() -> None:
    with pytest.raises(DataError, match=r"class mel has 4 groups by .*expected at least 5, one for each of fold 0, "):
        fold_table(lesions({"bcc": 9, "mel": 4, "nv": 9}), CLASSES, BOTH, 5, 0, 0)


@pytest.mark.parametrize("folds, fold, message", [(2, 0, "folds"), (5, 5, "0 to 4"), (None, 1, r"null: 0")])
def test_a_fold_that_is_not_there_is_refused(folds: int | None, fold: int, message: str) -> None:
    plain = {"group_by": ["lesion_id"], "train": 0.6, "val": 0.2, "test": 0.2, "seed": 0}
    assert SplitSettings.model_validate(plain).folds is None
    assert SplitSettings.model_validate(plain | {"folds": 3, "fold": 2}).fold == 2
    with pytest.raises(ValueError, match=message):
        SplitSettings.model_validate(plain | {"folds": folds, "fold": fold})


def cohort(**columns: list[str | None]) -> pd.DataFrame:
    table = records(**columns)
    return table.assign(image_id="x" + table["image_id"], source="elsewhere")


NO_PAIRS = pd.DataFrame({"first": [], "second": []}, dtype="str")
OURS = records(
    lesion_id=["l0", "l1", "l2", "l3", "l4"],
    patient_id=["p0", "p1", "p2", "p3", None],
    sha256=["s0", "s1", "s2", "s3", "s4"],
)
OUR_SPLIT = OURS[["image_id"]].assign(split=["train", "unlabelled", "val", "test", "withheld"])
STRANGE = {"lesion_id": ["a", "b"], "patient_id": ["c", None], "sha256": ["d", "e"]}


@pytest.mark.parametrize("ours, side", [(0, "train"), (1, "unlabelled"), (2, "val"), (3, "test")])
@pytest.mark.parametrize(
    "column, letter, said",
    [
        ("sha256", "s", "image xi0001 has the content of"),
        ("patient_id", "p", "patient p{} is that of"),
        ("lesion_id", "l", "lesion l{} is that of"),
    ],
)
def test_an_external_image_that_was_learned_from_is_refused(
    ours: int, side: str, column: str, letter: str, said: str
) -> None:
    overlapping = cohort(**(STRANGE | {column: ["other", f"{letter}{ours}"]}))
    message = rf"^external test set pad: {said.format(ours)} image i000{ours}, which is in {side}: .*\(external, params"
    with pytest.raises(LeakError, match=message):
        prove_external("pad", overlapping, OURS, OUR_SPLIT, NO_PAIRS)


@pytest.mark.parametrize("swapped", [False, True])
def test_an_external_near_duplicate_is_refused(swapped: bool) -> None:
    pairs = pd.DataFrame({"first": ["xi0000", "xi0001"], "second": ["i0002", "i0002"]})
    pairs = pairs.rename(columns={"first": "second", "second": "first"}) if swapped else pairs
    message = r"image xi0000 is a near-duplicate of image i0002, which is in val \(1 more like it\): "
    with pytest.raises(LeakError, match=message):
        prove_external("pad", cohort(**STRANGE), OURS, OUR_SPLIT, pairs)


def test_what_meets_the_internal_test_is_refused_for_another_reason() -> None:
    with pytest.raises(LeakError, match="is in test: a drop between the two would compare it with itself"):
        prove_external("pad", cohort(**(STRANGE | {"sha256": ["s3", "e"]})), OURS, OUR_SPLIT, NO_PAIRS)


def test_an_external_set_may_meet_withheld_images_and_itself() -> None:
    external = cohort(lesion_id=["l4", "l4", "q"], patient_id=[None, None, None], sha256=["s4", "s4", "s4"])
    pairs = pd.DataFrame({"first": ["xi0000", "xi0001", "i0000"], "second": ["i0004", "xi0002", "i0001"]})
    prove_external("pad", external, OURS, OUR_SPLIT, pairs)


def test_the_split_stage_writes_what_holds_and_names_it_to_the_run(tmp_path: Path) -> None:
    table = lesions({"bcc": 20, "mel": 20, "nv": 40}).assign(sha256=lambda t: t["image_id"].map(_digest))
    given_columns = conform(table[["image_id", "label", "lesion_id", "source"]].assign(path="a.jpg"), "a test")
    accepted = given_columns.assign(sha256=table["sha256"], width=9, height=9, twins=pd.array([None] * 80, "str"))
    write_records(accepted, tmp_path / "accepted.parquet")
    paths = SimpleNamespace(accepted=tmp_path / "accepted.parquet", split=tmp_path / "split.csv")
    chosen = SplitSettings(group_by=("lesion_id",), train=0.6, val=0.2, test=0.2, folds=5, fold=3, seed=0)
    labels = Labels(scheme="s", schemes={"s": {name: (name,) for name in CLASSES}})
    log = SilentLog()
    metrics = split_stage.work(chosen, labels, paths, log)
    assert log.words == {"dvc.split": hashlib.md5((tmp_path / "split.csv").read_bytes()).hexdigest()}
    written = pd.read_csv(tmp_path / "split.csv")
    assert written["split"].value_counts().to_dict() == {"train": 48, "test": 16, "val": 16}
    assert (written[written["split"] == "test"]["fold"] == 3).all()
    assert metrics["images"]["test"] == 16
    write_records(accepted.assign(width=0), tmp_path / "accepted.parquet")
    with pytest.raises(DataError, match=r"(?s)80 values break the contract.*i0000: width is '0', expected at least 1"):
        split_stage.work(chosen, labels, paths, log)


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def test_withheld_images_cross_nothing() -> None:
    table = records(lesion_id=["same", "same"])
    prove_no_leak(table[["image_id"]].assign(split=["test", "withheld"]), table, BOTH)


@pytest.mark.real
def test_ham10000_is_split_by_lesion_with_equal_shares(ham10000: Path) -> None:
    meta = pd.read_csv(ham10000 / "HAM10000_metadata.csv", dtype="str")
    table = records(image_id=meta["image_id"].tolist(), label=meta["dx"].tolist())
    table = table.assign(lesion_id=meta["lesion_id"], sha256=meta["image_id"])
    split = split_table(table, sorted(set(meta["dx"])), BOTH, FRACTIONS, 0)
    assert split["group"].nunique() == 7470
    prove_no_leak(split, table, BOTH)
    shares = pd.crosstab(split["label"], split["split"], normalize="index")[["train", "val", "test"]]
    assert np.abs(shares - [0.6, 0.2, 0.2]).max(axis=None) < 0.01


@pytest.mark.real
def test_isic2020_crosses_patients_unless_they_are_grouped(ham10000: Path) -> None:
    meta = pd.read_csv(ham10000.parent / "tables" / "ISIC_2020_Training_GroundTruth_v2.csv", dtype="str")
    table = records(image_id=meta["image_name"].tolist(), label=meta["benign_malignant"].tolist())
    table = table.assign(lesion_id=meta["lesion_id"], patient_id=meta["patient_id"], sha256=meta["image_name"])
    classes = ["benign", "malignant"]
    prove_no_leak(split_table(table, classes, BOTH, FRACTIONS, 0), table, BOTH)
    by_lesion = split_table(table, classes, ["lesion_id"], FRACTIONS, 0)
    with pytest.raises(LeakError, match=r"more like it.*split\.group_by lacks patient_id"):
        prove_no_leak(by_lesion, table, ["lesion_id"])
