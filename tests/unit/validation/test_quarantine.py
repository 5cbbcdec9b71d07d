"""Reasons against rows: each problem has its words, no text holds a path, and people may overrule what can be used."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest

from components.base.errors import DataError
from components.data.read_report import ReadReport
from components.data.records import conform
from components.validation.image_facts import ImageFacts
from components.validation.image_header import Problem
from components.validation.quarantine import (
    ACCEPTED_COLUMNS,
    ADMISSIBLE,
    BY_HAND,
    COLUMNS,
    IMAGES,
    apply_accepted,
    check_share,
    count_rules,
    find_unusable,
    for_sharing,
    read_accepted,
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


def test_each_problem_is_a_reason_and_none_names_the_path() -> None:
    table = records(len(IMAGES) + 2)
    reasons = find_unusable(table, facts(table, list(IMAGES)), CLASSES, 32)
    assert list(reasons.columns) == list(COLUMNS)
    assert dict(zip(reasons["rule"], reasons["image_id"], strict=True)) == {
        f"image.{problem}": f"i{n}" for n, problem in enumerate(IMAGES)
    }
    assert (reasons["value"] == "in the words of a decoder: " + reasons["rule"].str.removeprefix("image.")).all()
    assert not reasons.map(lambda text: "Doe" in text or "/" in text).any(axis=None)
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


def test_a_path_that_leaves_the_folder_is_named_by_its_image_alone() -> None:
    table = records(3)
    table.loc[1, "path"] = "../Doe_Jane.jpg"
    reasons = find_unusable(table, facts(table), CLASSES, 32)
    assert reasons[["image_id", "rule"]].to_numpy().tolist() == [["i1", "path.inside"]]
    assert not reasons.map(lambda text: "Doe" in text).any(axis=None)
    with pytest.raises(DataError, match=r"1 of 3 rows .*\n.*\nfirst: i1 path\.inside = ") as caught:
        check_share(reasons, 3, 0.1, "quarantine.csv")
    assert "Doe" not in str(caught.value)


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
    with pytest.raises(DataError, match=r"by rule: image\.empty 1\nfirst: i0 image\.empty = .*\n.* q\.csv"):
        check_share(reasons, 10, 0.09, "q.csv")


def test_what_is_shared_holds_no_value() -> None:
    table = records(3)
    shared = for_sharing(find_unusable(table, facts(table, ["cmyk"]), CLASSES, 32))
    assert list(shared.columns) == ["image_id", "rule", "expected", "fix"]
    assert not shared.map(lambda text: "decoder" in text).any(axis=None)


# --- accepted by hand


def signed(pairs: Sequence[tuple[str, str]]) -> pd.DataFrame:
    """Entries by Dr A."""
    return pd.DataFrame(
        [(*pair, "Dr A", "it is as it should be") for pair in pairs], columns=list(ACCEPTED_COLUMNS), dtype="str"
    )


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    file = folder / "accepted_by_hand.csv"
    file.write_text(text, encoding)
    return file


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
        "i5 image.cmyk was accepted by hand by Dr A, but no longer needs it: delete the line",
    ]


def test_without_entries_or_reasons_nothing_changes() -> None:
    table = records(3)
    reasons = find_unusable(table, facts(table, ["grey"]), CLASSES, 32)
    pd.testing.assert_frame_equal(apply_accepted(reasons, signed([])).holding, reasons)
    decision = apply_accepted(reasons.iloc[:0], signed([("i0", "image.grey")]))
    assert decision.holding.empty and decision.overruled.empty and len(decision.unused) == 1


def test_the_file_is_read_whatever_the_order_of_columns_and_the_spreadsheet(tmp_path: Path) -> None:
    text = (
        'rule,image_id,why,who\n\nimage.grey, i0 ,"grey, as all\nof that clinic",Dr Ä\n,,,\nimage.alpha,i1,why not,B\n'
    )
    entries = read_accepted(write(tmp_path, text, "utf-8-sig"), ["i0", "i1"])
    assert entries.to_dict("records") == [
        {"image_id": "i0", "rule": "image.grey", "who": "Dr Ä", "why": "grey, as all\nof that clinic"},
        {"image_id": "i1", "rule": "image.alpha", "who": "B", "why": "why not"},
    ]


@pytest.mark.parametrize("rule", BY_HAND)
def test_every_rule_that_people_may_overrule_is_read(tmp_path: Path, rule: str) -> None:
    file = write(tmp_path, f"image_id,rule,who,why\ni0,{rule},A,B\n")
    assert read_accepted(file, ["i0"])["rule"].tolist() == [rule]


def test_no_file_and_an_empty_one_with_a_header_accept_nothing(tmp_path: Path) -> None:
    assert read_accepted(tmp_path / "accepted_by_hand.csv", ["i0"]).empty
    found = read_accepted(write(tmp_path, "image_id,rule,who,why\n"), ["i0"])
    assert found.empty and list(found.columns) == list(ACCEPTED_COLUMNS)


REFUSED = {
    "": "line 1: has the columns [], expected ['image_id', 'rule', 'who', 'why'], comma-separated",
    "image_id;rule;who;why\n": "line 1: has the columns ['image_id;rule;who;why'], expected",
    "image_id,rule,who,why,when\n": "line 1: has the columns ['image_id', 'rule', 'who', 'why', 'when'], expected",
    "image_id,rule,who\n": "line 1: has the columns ['image_id', 'rule', 'who'], expected",
    "image_id,rule,who,who\n": "line 1: has the columns",
    "H\ni0,image.grey,A,b,c\n": "line 2: has 5 cells ['i0', 'image.grey', 'A', 'b', 'c'], expected 4; put a text with",
    "H\ni0,image.grey,A,b\n,image.grey,A,b\n": "line 3: image_id is empty, expected the image's id",
    "H\ni0,,A,b\n": "line 2: rule is empty, expected the rule's name",
    "H\ni0,image.grey, ,b\n": "line 2: who is empty, expected the name of the person",
    "H\ni0,image.grey,A,\n": "line 2: why is empty, expected the reason",
    "H\ni7,image.grey,A,b\n": "line 2: image_id is 'i7', expected an image of this data set",
    'H\ni0,image.grey,A,"two\nlines"\n\ni0,image.gray,A,b\n': "line 5: rule is 'image.gray', which is no rule; exp",
    "H\ni0,image.corrupt,A,b\n": "line 2: rule is 'image.corrupt', and cannot be accepted by hand: there is no usable",
    "H\ni0,image.missing,A,b\n": "line 2: rule is 'image.missing', and cannot be accepted by hand: there is no usable",
    "H\ni0,age.range,A,b\n": "line 2: rule is 'age.range', and cannot be accepted by hand: later stages rely on",
    "H\ni0,diagnosis.outside_map,A,b\n": "line 2: rule is 'diagnosis.outside_map', and cannot be accepted by hand: the",
    "H\ni0,image.grey,A,b\ni0,image.grey,C,d\n": "line 3: i0 image.grey is in line 2 already",
    'H\ni0,image.grey,A,"b\n': "is no table of comma-separated values in UTF-8",
}


@pytest.mark.parametrize("text", REFUSED)
def test_an_entry_that_cannot_be_followed_is_named(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, re.sub(r"^H", "image_id,rule,who,why", text))
    with pytest.raises(DataError, match=rf"^{re.escape(str(file))}.*{re.escape(REFUSED[text])}"):
        read_accepted(file, ["i0", "i1"])


def test_a_file_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    file = write(tmp_path, "image_id,rule,who,why\ni0,image.grey,Dr Ä,b\n", "latin-1")
    with pytest.raises(DataError, match=r"accepted_by_hand\.csv: is no table of comma-separated values in UTF-8"):
        read_accepted(file, ["i0"])
