"""Reasons against rows: each problem has its words, no text holds a path, and people may overrule what can be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import pandas as pd
import pytest

from components.base.errors import DataError
from components.data.read_report import ReadReport
from components.data.records import conform
from components.validation.accepted_by_hand import ACCEPTED_COLUMNS
from components.validation.image_facts import ImageFacts
from components.validation.image_header import Problem
from components.validation.quarantine import (
    ADMISSIBLE,
    COLUMNS,
    IMAGES,
    apply_accepted,
    check_share,
    count_rules,
    find_unusable,
    for_page,
    for_sharing,
)

CLASSES = ("mel", "nv")


def records(count: int) -> pd.DataFrame:
    """Sound rows i0, i1 ... of `patients/Doe_Jane/0.jpg` and so on, mel and nv by turns."""
    rows = [
        {"image_id": f"i{n}", "path": f"patients/Doe_Jane/{n}.jpg", "diagnosis": CLASSES[n % 2], "source": "s"}
        for n in range(count)
    ]
    return conform(pd.DataFrame(rows), "test", ReadReport()).assign(label=lambda table: table["diagnosis"])


def facts(table: pd.DataFrame, problems: Sequence[str | None] = (), side: int = 100) -> pd.DataFrame:
    """A sound file a row, but for the first ones' problems."""
    held = [*problems, *[None] * (len(table) - len(problems))]
    made = pd.DataFrame({"path": table["path"], "problem": held, "detail": held, "width": side, "height": side})
    made["detail"] = made["detail"].map(lambda word: f"in the words of a decoder: {word}", na_action="ignore")
    made["sha256"] = [f"{n:064x}" for n in range(len(table))]
    return made.astype({"problem": "str", "detail": "str", "width": "Int64", "height": "Int64"})


def test_every_problem_that_a_scan_knows_has_its_words() -> None:
    assert set(IMAGES) == set(get_args(Problem))
    assert set(ADMISSIBLE) < set(IMAGES)
    assert {"problem", "detail", "width", "height", "sha256"} <= set(ImageFacts.__dataclass_fields__)


def test_each_problem_is_a_reason_and_one_column_alone_names_the_path() -> None:
    table = records(len(IMAGES) + 2)
    reasons = find_unusable(table, facts(table, list(IMAGES)), CLASSES, 32)
    assert list(reasons.columns) == list(COLUMNS)
    assert dict(zip(reasons["rule"], reasons["image_id"], strict=True)) == {
        f"image.{problem}": f"i{n}" for n, problem in enumerate(IMAGES)
    }
    assert (reasons["value"] == "in the words of a decoder: " + reasons["rule"].str.removeprefix("image.")).all()
    paths = dict(zip(table["image_id"], table["path"], strict=True))
    assert reasons["path"].tolist() == [paths[name] for name in reasons["image_id"]]
    assert not reasons.drop(columns="path").map(lambda text: "Doe" in text or "/" in text).any(axis=None)
    open_to_people = reasons[reasons["fix"].str.contains(r"accepted_by_hand\.csv")]["rule"]
    assert set(open_to_people) == {f"image.{problem}" for problem in ADMISSIBLE}
    assert reasons["fix"].str.contains(r"validate\.admit").sum() == len(ADMISSIBLE)


def test_an_admitted_problem_is_no_reason() -> None:
    table = records(len(IMAGES))
    reasons = find_unusable(table, facts(table, list(IMAGES)), CLASSES, 32, admit=ADMISSIBLE)
    assert set(reasons["rule"]) == {f"image.{problem}" for problem in set(IMAGES) - set(ADMISSIBLE)}
    grey = find_unusable(table, facts(table, ["grey", "alpha"]), CLASSES, 32, admit=("grey",))
    assert grey["rule"].tolist() == ["image.alpha"]
    small = find_unusable(table, facts(table, ["grey"], side=10), CLASSES, 32, admit=("grey",))
    assert set(small["rule"]) == {"image.too_small"}  # admitted, and decision like any other


def test_a_path_that_leaves_the_folder_is_named_in_its_column_alone() -> None:
    table = records(3)
    table.loc[1, "path"] = "../Doe_Jane.jpg"
    reasons = find_unusable(table, facts(table), CLASSES, 32)
    assert reasons[["image_id", "path", "rule"]].to_numpy().tolist() == [["i1", "../Doe_Jane.jpg", "path.inside"]]
    assert not reasons.drop(columns="path").map(lambda text: "Doe" in text).any(axis=None)
    with pytest.raises(DataError, match=r"1 of 3 rows .*\nby rule: path\.inside 1\n.* quarantine\.csv") as caught:
        check_share(reasons, 3, 0.1, "quarantine.csv")
    assert caught.value.words.startswith("first: i1 path.inside = ")
    assert "Doe" not in caught.value.complete


def test_the_message_about_too_many_rows_holds_the_tables_words_apart() -> None:
    table = records(2)
    table.loc[0, ["diagnosis", "label"]] = ["Doe, Jane", None]
    reasons = find_unusable(table, facts(table), CLASSES, 32)
    with pytest.raises(DataError, match=r"1 of 2 rows") as caught:
        check_share(reasons, 2, 0.1, "q.csv")
    assert "Doe" not in str(caught.value)
    assert caught.value.words == "first: i0 diagnosis.outside_map = Doe, Jane"


def test_one_file_under_two_labels_can_be_overruled_for_each_of_its_rows() -> None:
    table = records(4)
    seen = facts(table)
    seen.loc[[0, 1], "sha256"] = "a" * 64
    reasons = find_unusable(table, seen, CLASSES, 32)
    assert reasons["value"].tolist() == ["mel, but the same file is i1 (nv)", "nv, but the same file is i0 (mel)"]
    decision = apply_accepted(reasons, signed([("i0", "image.duplicate_with_other_label")]))
    assert decision.holding["image_id"].tolist() == ["i1"] and decision.overruled["image_id"].tolist() == ["i0"]


def test_a_share_within_the_limit_passes() -> None:
    table = records(10)
    reasons = find_unusable(table, facts(table, ["empty"]), CLASSES, 32)
    check_share(reasons, 10, 0.1, "q.csv")
    assert count_rules(reasons) == {"image.empty": 1}
    with pytest.raises(DataError, match=r"by rule: image\.empty 1\n.* q\.csv"):
        check_share(reasons, 10, 0.09, "q.csv")


def test_what_is_shared_holds_no_value_and_no_path() -> None:
    table = records(3)
    shared = for_sharing(find_unusable(table, facts(table, ["cmyk"]), CLASSES, 32))
    assert list(shared.columns) == ["image_id", "rule", "expected", "fix"]
    assert not shared.map(lambda text: "decoder" in text or "Doe" in text).any(axis=None)


def test_a_page_of_private_data_shows_no_value_of_the_table_or_of_a_path() -> None:
    table = records(4)
    table.loc[0, ["diagnosis", "label"]] = ["Doe, Jane", None]
    reasons = find_unusable(table, facts(table, [None, "missing", "cmyk"]), CLASSES, 32)
    shown = dict(zip((private := for_page(reasons, private=True))["rule"], private["value"], strict=True))
    hidden = "its value is in the quarantine file"
    assert shown == {
        "diagnosis.outside_map": hidden,
        "image.missing": hidden,
        "image.cmyk": "in the words of a decoder: cmyk",
    }
    pd.testing.assert_frame_equal(for_page(reasons, private=False), reasons)


# --- accepted by hand


def signed(pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Entries by Dr A."""
    return pd.DataFrame(
        [(*pair, "Dr A", "it is as it should be") for pair in pairs], columns=list(ACCEPTED_COLUMNS), dtype="str"
    )


def test_reasons_are_split_into_holding_and_overruled_ones() -> None:
    table = records(6)
    reasons = find_unusable(table, facts(table, ["grey", "alpha", "empty"], side=20), CLASSES, 32)
    entries = [("i0", "image.grey"), ("i1", "image.alpha"), ("i1", "image.too_small"), ("i5", "image.cmyk")]
    decision = apply_accepted(reasons, signed(entries))
    assert len(decision.holding) + len(decision.overruled) == len(reasons)
    assert list(decision.holding.columns) == list(COLUMNS)
    assert decision.overruled[["image_id", "rule"]].to_numpy().tolist() == [list(pair) for pair in entries[:3]]
    assert set(decision.overruled["who"]) == {"Dr A"} and (decision.overruled["why"] != "").all()
    assert 1 not in decision.holding.index and 0 in decision.holding.index  # i0 is too small all the same
    assert decision.overruled.index.tolist() == [0, 1, 1]
    assert decision.unused == [
        "i5 image.cmyk was accepted by hand, but no longer needs it: delete the line",
    ]


def test_without_entries_or_reasons_nothing_changes() -> None:
    table = records(3)
    reasons = find_unusable(table, facts(table, ["grey"]), CLASSES, 32)
    pd.testing.assert_frame_equal(apply_accepted(reasons, signed([])).holding, reasons)
    decision = apply_accepted(reasons.iloc[:0], signed([("i0", "image.grey")]))
    assert decision.holding.empty and decision.overruled.empty and len(decision.unused) == 1
