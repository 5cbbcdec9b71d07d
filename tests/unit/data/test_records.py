import time
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.base.errors import DataError
from components.data.read_report import ReadReport
from components.data.records import (
    NUMBER_TYPES,
    Accepted,
    Packed,
    Raw,
    Split,
    apply_labels,
    check,
    conform,
    failures,
    is_relative,
    read_records,
    write_records,
)


def rows(count: int = 4) -> pd.DataFrame:
    names = [f"i{number}" for number in range(count)]
    table = pd.DataFrame({"image_id": names, "path": [f"{name}.jpg" for name in names], "source": "test"})
    return conform(table, "a test", ReadReport())


def broken(column: str, value: object) -> pd.DataFrame:
    table = rows()
    table.loc[2, column] = value
    return table


def test_a_table_of_three_columns_gets_the_contracts_defaults():
    table = rows()
    assert list(table) == list(Raw.columns)
    assert table["lesion_id"].equals(table["image_id"].rename("lesion_id"))
    assert set(table["sex"]) == set(table["site"]) == {"unknown"}
    assert table[["diagnosis", "label", "patient_id", "age", "skin_type"]].isna().all(axis=None)
    types = {name: str(kind) for name, kind in table.dtypes.items()}
    assert types == {name: NUMBER_TYPES.get(name, "str") for name in Raw.columns}
    assert failures(table).empty
    assert check(table, Raw) is table


def test_conform_changes_nothing_the_second_time():
    table = broken("age", 45.0)
    pd.testing.assert_frame_equal(conform(table, "again", ReadReport()), table)


@pytest.mark.parametrize(
    ("column", "value", "rule", "expected"),
    [
        ("age", 200.0, "age.range", "0 to 120 years"),
        ("age", -1.0, "age.range", "0 to 120 years"),
        ("age", 121.0, "age.range", "0 to 120 years"),
        ("sex", "m", "sex.words", "one of male, female, unknown"),
        ("skin_type", 7, "skin_type.range", "1 to 6"),
        ("image_id", "", "image_id.empty", "at least one character"),
        ("lesion_id", None, "lesion_id.missing", "a value"),
        ("diagnosis", "", "diagnosis.empty", "at least one character"),
    ],
)
def test_a_broken_value_is_found_with_its_row_and_what_was_expected(column, value, rule, expected):
    table = broken(column, value)
    found = failures(table)
    assert list(found.index) == [2]
    assert found.loc[2, "rule"] == rule
    assert found.loc[2, "image_id"] == table.loc[2, "image_id"]
    assert found.loc[2, "value"] == ("nothing" if value is None else str(value))
    assert expected in found.loc[2, "expected"]


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("Mueller/../secret.jpg", "contains '..'"),
        ("C:Mueller.jpg", "has a drive"),
        ("/etc/Mueller", "is absolute"),
        ("Mueller\\b.jpg", "has a backslash"),
        ("", "is empty"),
    ],
)
def test_a_path_that_leaves_its_folder_is_found_and_not_repeated(path, fault):
    found = failures(broken("path", path))
    assert found.loc[2, ["image_id", "rule", "value"]].tolist() == ["i2", "path.inside", fault]
    assert found.loc[2, "expected"] == "a POSIX path relative to the data set's folder, without '..'"


@given(st.lists(st.text(alphabet="a.:/\\C\nä", max_size=8), min_size=1, max_size=5))
def test_paths_are_checked_together_as_one_by_one(paths):
    table = rows(len(paths)).assign(path=pd.array(paths, "str"))
    wrong = [number for number, path in enumerate(paths) if not is_relative(path)]
    assert failures(table).index.tolist() == wrong


def lesions(diagnosis: list[str | None], patient: list[str | None]) -> pd.DataFrame:
    table = rows(len(diagnosis)).assign(lesion_id=["a", "a", "b", "b", "c"])
    return table.assign(diagnosis=pd.array(diagnosis, "str"), patient_id=pd.array(patient, "str"))


def test_a_lesion_of_two_diagnoses_or_patients_is_found_in_each_of_its_rows_with_both():
    found = failures(lesions(["nv", "mel", "nv", "nv", "bcc"], ["p1", "p1", "p3", "p2", "p9"]))
    assert found[["image_id", "rule", "value", "expected"]].to_numpy().tolist() == [
        ["i0", "lesion_id.one_diagnosis", "mel, nv", "one diagnosis a lesion"],
        ["i1", "lesion_id.one_diagnosis", "mel, nv", "one diagnosis a lesion"],
        ["i2", "lesion_id.one_patient", "p2, p3", "one patient a lesion"],
        ["i3", "lesion_id.one_patient", "p2, p3", "one patient a lesion"],
    ]
    assert found.index.tolist() == [0, 1, 2, 3]


def test_a_missing_diagnosis_or_patient_contradicts_nothing():
    assert failures(lesions(["nv", None, None, None, "bcc"], ["p1", None, "p2", "p2", None])).empty


def test_a_lesions_contradiction_and_a_broken_value_are_reported_together():
    table = lesions(["nv", "mel", "nv", "nv", "bcc"], ["p1", "p1", "p2", "p2", "p9"])
    table.loc[0, "age"] = -1.0
    assert failures(table)["rule"].tolist() == ["age.range"] + ["lesion_id.one_diagnosis"] * 2
    assert failures(table.set_axis([7, 8, 9, 10, 11])).index.tolist() == [7, 7, 8]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_lesions_with_contradictions_are_those_of_a_naive_loop(data):
    count = data.draw(st.integers(1, 12))
    pick = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=count, max_size=count)
    lesion = pd.array([f"l{name}" for name in data.draw(pick)], "str")
    table = rows(count).assign(lesion_id=lesion, diagnosis=pd.array(data.draw(pick), "str"))
    expected = set()
    for row in range(count):
        words = {table["diagnosis"][other] for other in range(count) if lesion[other] == lesion[row]}
        if len({word for word in words if isinstance(word, str)}) > 1:
            expected.add(row)
    assert set(failures(table).index) == expected


def division(**columns: list[object]) -> pd.DataFrame:
    plain = {
        "image_id": ["a", "b", "c", "d", "e"],
        "label": ["nv", "nv", None, "mel", None],
        "group": ["a", "b", "a", "d", "d"],
        "split": ["train", "val", "unlabelled", "test", "withheld"],
    }
    return pd.DataFrame(plain | columns).astype("str")


def test_unlabelled_counts_as_train_and_withheld_as_nothing():
    table = division()
    assert check(table, Split) is table
    folded = table.assign(fold=pd.array([0, 1, 0, None, None], "Int64"))
    assert check(folded, Split) is folded


def test_a_group_in_two_splits_is_found_in_each_of_its_rows():
    found = failures(division(group=["a", "a", "a", "d", "d"]), Split)
    assert found.index.tolist() == [0, 1, 2]
    assert set(found["rule"]) == {"group.one_split"}
    assert set(found["value"]) == {"train, val"}
    unlabelled = failures(division(group=["a", "b", "d", "d", "d"]), Split)
    assert unlabelled["image_id"].tolist() == ["c", "d", "e"]
    assert set(unlabelled["value"]) == {"test, train"}


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("split", "holdout", "split.words"),
        ("split", None, "split.missing"),
        ("split", "unlabelled", "split.label"),
        ("label", None, "split.label"),
        ("image_id", "a", "image_id.unique"),
        ("group", None, "group.missing"),
        ("fold", -1, "fold.range"),
    ],
)
def test_a_broken_split_names_its_row_and_rule(column, value, rule):
    table = division().assign(fold=pd.array([0, 1, 0, 2, 2], "Int64"))
    table.loc[1, column] = value
    found = failures(table, Split)
    assert rule in found[found["image_id"] == table.loc[1, "image_id"]]["rule"].tolist()


def test_the_index_of_packed_images_has_one_row_an_image_and_checksums():
    table = pd.DataFrame({"image_id": ["a", "b"], "label": ["nv", None], "lesion_id": "l", "group": "a"}).astype("str")
    table = table.assign(crc32=[0, 2**32 - 1])
    assert check(table, Packed) is table
    broken = table.assign(image_id="a", crc32=[-1, 2**32])
    assert failures(broken, Packed)["rule"].tolist() == ["crc32.range"] * 2 + ["image_id.unique"] * 2


def test_400_000_rows_are_checked_in_seconds():
    count = 400_000
    numbers = pd.Series(range(count)).astype("str")
    table = pd.DataFrame({"image_id": "i" + numbers, "path": "a/" + numbers + ".jpg", "source": "test"})
    table = conform(
        table.assign(lesion_id="l" + (numbers.index.to_series() // 2).astype("str")), "a test", ReadReport()
    )
    table.loc[count // 2 :, "diagnosis"] = "nv"
    table.loc[count - 1, "diagnosis"] = "mel"
    began = time.process_time()
    found = failures(table)
    assert time.process_time() - began < 10  # one second on a free core
    assert found["image_id"].tolist() == [f"i{count - 2}", f"i{count - 1}"]


def test_both_rows_of_a_duplicate_id_are_found():
    table = broken("image_id", "i1")
    found = failures(table)
    assert list(found.index) == [1, 2]
    assert set(found["rule"]) == {"image_id.unique"}


def test_check_lists_every_failure_at_once():
    table = broken("age", 200.0)
    table.loc[0, "sex"] = "x"
    with pytest.raises(DataError, match=r"2 values break .*: age.range 1, sex.words 1$") as caught:
        check(table, Raw)
    first, second = caught.value.words.splitlines()
    assert first.startswith("i0: sex is 'x', expected one of") and second.startswith(
        "i2: age is '200.0', expected 0 to"
    )


def test_a_table_without_the_files_facts_is_not_accepted():
    with pytest.raises(DataError, match="sha256 is missing; width is missing; height is missing; twins is missing"):
        check(rows(), Accepted)
    facts = rows().assign(sha256="a" * 64, width=10, height=10, twins=pd.array([None, "i1", "i1", None], "str"))
    assert check(facts, Accepted) is facts
    assert set(failures(facts.assign(sha256="b"), Accepted)["rule"]) == {"sha256.form"}


def test_a_contradiction_that_a_user_accepted_is_accepted():
    table = lesions(["nv", "mel", "nv", "nv", "bcc"], ["p1", "p1", "p3", "p2", "p9"])
    facts = table.assign(sha256="a" * 64, width=10, height=10, twins=pd.array([None] * 5, "str"))
    assert check(facts, Accepted) is facts


def test_missing_and_unknown_columns_are_named():
    with pytest.raises(DataError, match=r"here.csv: columns missing: \['path', 'source'\].*\['colour'\]"):
        conform(pd.DataFrame({"image_id": ["a"], "colour": ["red"]}), "here.csv", ReadReport())


@pytest.mark.parametrize(("column", "value"), [("age", "old"), ("skin_type", "II"), ("skin_type", 2.5)])
def test_a_cell_that_is_not_a_number_is_an_error_with_its_row(column, value):
    table = pd.DataFrame({"image_id": ["a", "b"], "path": "p", "source": "s", column: ["3", value]})
    with pytest.raises(DataError, match=rf"here.csv: 1 rows whose {column} is not a .*number") as caught:
        conform(table, "here.csv", ReadReport())
    assert str(value) not in str(caught.value)
    assert caught.value.words == f"first b: {value!r}"


def test_ids_of_digits_stay_text():
    table = pd.DataFrame({"image_id": [7, 8], "path": "p", "source": "s", "patient_id": [1, None]})
    found = conform(table.astype({"patient_id": "Int64"}), "a test", ReadReport())
    assert found["image_id"].to_list() == ["7", "8"]
    assert found["patient_id"].dropna().to_list() == ["1"]


def test_a_diagnosis_outside_the_mapping_has_no_label():
    table = rows(3).assign(diagnosis=pd.array(["nv", "wart", None], "str"))
    labelled = apply_labels(table, {"nv": "benign"})
    assert labelled["label"].isna().to_list() == [False, True, True]
    assert labelled["diagnosis"].dropna().to_list() == ["nv", "wart"]
    assert failures(labelled).empty


def test_labels_of_a_table_without_diagnoses_keep_their_type():
    assert str(apply_labels(rows(), {"nv": "benign"})["label"].dtype) == "str"


def test_equal_tables_give_equal_bytes_in_any_order(tmp_path: Path):
    table = broken("age", 45.0)
    write_records(table, tmp_path / "one.parquet")
    write_records(table.iloc[::-1], tmp_path / "deeper" / "two.parquet")
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "deeper" / "two.parquet").read_bytes()
    pd.testing.assert_frame_equal(read_records(tmp_path / "one.parquet"), table)


def test_a_missing_table_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"none.parquet: no such table; run the stage"):
        read_records(tmp_path / "none.parquet")


@given(st.lists(st.sampled_from(["..", ".", "a", "b c", "ä"]), min_size=1, max_size=6))
def test_a_relative_path_never_names_a_place_above_its_folder(parts):
    path = "/".join(parts)
    if is_relative(path):
        assert (Path("/root/of/data") / path).resolve().is_relative_to("/root/of/data")
