"""Optional tables joined by id."""

from __future__ import annotations

import pandas as pd
import pytest

from components.base.errors import DataError
from components.data.joins import RULES, join_optional, join_tables, match_ids
from components.data.read_report import Join, ReadReport

IMAGES = [f"ISIC_{number:07d}" for number in range(24_306, 24_346)]


def images(names: list[str] = IMAGES, **columns: list[object]) -> pd.DataFrame:
    return pd.DataFrame({"image_id": pd.Series(names, dtype="object"), **columns})


def lesions(names: list[str], **columns: list[object]) -> pd.DataFrame:
    return images(names, lesion_id=[f"L{place // 2}" for place in range(len(names))], **columns)


SPELLINGS = {
    "equal": lambda name: name,
    "blank": lambda name: f"{name} ",
    "suffix": lambda name: f"{name}.jpg",
    "two suffixes": lambda name: f"{name}.nii.GZ",
    "folder": lambda name: f"train/{name}.JPEG",
    "Windows folder": lambda name: f"C:\\images\\{name}.png",
    "downsampled": lambda name: f"{name}_downsampled",
    "small letters": lambda name: name.lower(),
    "dashes": lambda name: name.replace("_", "-"),
    "no mark": lambda name: name.replace("_", ""),
    "fewer zeros": lambda name: f"ISIC_{int(name[5:])}",
    "the number": lambda name: str(int(name[5:])),
    "the number as decimal": lambda name: f"{int(name[5:])}.0",
    "another prefix": lambda name: f"IMG{name[5:]}",
    "a suffix with digits": lambda name: f"{name}_224.png",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_id_is_found_in_each_spelling(spelling):
    report = ReadReport()
    other = lesions([SPELLINGS[spelling](name) for name in IMAGES])
    shuffled = other.sample(frac=1, random_state=0)
    joined = join_optional(images(), shuffled, "image_id", name="other", minimum=0.9, report=report)
    assert joined["lesion_id"].to_list() == lesions(IMAGES)["lesion_id"].to_list()
    assert (report.joins[0].matched, report.joins[0].rows) == (40, 40)
    assert all(rule in RULES for rule in report.joins[0].how.split("; "))


@pytest.mark.parametrize("names", [
    [f"row{place}" for place in range(40)],
    ["a"] * 20 + ["b"] * 20,
    [f"MSK_{number}" for number in range(40)],
    [f"ISIC_{number:07d}" for number in range(90_000, 90_040)],
    [f"PAT_{number}" for number in range(24_320, 24_360)],  # some numbers are equal by chance
])  # fmt: skip
def test_other_ids_are_never_joined_and_stop_it(names):
    with pytest.raises(
        DataError, match=r"other: 0 of 40 images matched; expected at least 90%.*lesion_id would be"
    ) as e:
        join_optional(
            images(), lesions(names).drop_duplicates("image_id"), "image_id", name="other", minimum=0.9,
            report=ReadReport(),
        )  # fmt: skip
    assert "ISIC_0024306" in e.value.words
    assert "ISIC_0024306" not in str(e.value)


def test_a_looser_rule_is_used_for_what_a_stricter_one_left():
    theirs = pd.Series(["a1", "a2.jpg", "A3"])
    places, used = match_ids(pd.Series(["a1", "a2", "a3", "a4"]), theirs)
    assert places.to_list() == [0, 1, 2, -1]
    assert used == list(RULES)[:3]


@pytest.mark.parametrize(("ours", "theirs"), [
    (["a1"], ["A1", "a01"]),  # two of theirs
    (["a1", "A1"], ["a01"]),  # two of ours
    (["", "-"], ["", "."]),
    (["a1"], ["b1"]),  # one id shows no pattern
])  # fmt: skip
def test_what_is_ambiguous_is_not_joined(ours, theirs):
    places, used = match_ids(pd.Series(ours), pd.Series(theirs))
    assert (places < 0).all()
    assert used == []


def test_an_equal_id_is_never_given_to_another_image():
    places, _ = match_ids(pd.Series(["ISIC_1", "ISIC_1_downsampled"]), pd.Series(["ISIC_1"]))
    assert places.to_list() == [0, -1]


def test_the_share_is_of_the_images_and_can_be_lowered():
    other, report = lesions(IMAGES[:30]), ReadReport()
    with pytest.raises(DataError, match=r"other: 30 of 40 images matched; expected at least 90% \(dataset.min_matched"):
        join_optional(images(), other, "image_id", name="other", minimum=0.9, report=ReadReport())
    joined = join_optional(images(), other, "image_id", name="other", minimum=0.7, report=report)
    assert joined["lesion_id"].isna().sum() == 10
    assert report.joins == [Join("other", 30, 40, "equal ids")]


def test_two_tables_may_know_half_of_the_images_each():
    halves = {"first": lesions(IMAGES[:20]), "second": lesions(IMAGES[20:])}
    joined = join_tables(images(), halves, "image_id", minimum=1, report=ReadReport())
    assert joined["lesion_id"].notna().all()


def test_a_table_about_other_images_is_named_where_the_columns_are_known_without_it():
    report, ages = ReadReport(), [40] * 40
    others = {"train": lesions(IMAGES, age=ages), "test": images([f"x{n}" for n in range(40)], age=ages)}
    joined = join_tables(images(), others, "image_id", minimum=0.9, report=report)
    assert joined["age"].to_list() == ages
    assert [(each.kind, each.message) for each in report.warnings] == [
        ("not_joined", "test is about other images: 0 of 40 matched; it is not used")
    ]


def test_an_image_with_two_lesions_is_refused_and_one_with_two_ages_is_counted():
    twice = pd.concat([lesions(IMAGES), images(IMAGES[:1], lesion_id=["L9"])])
    with pytest.raises(DataError, match=r"other: images with several values: {'lesion_id': 1}, expected one") as error:
        join_optional(images(), twice, "image_id", name="other", minimum=0.9, report=ReadReport())
    assert error.value.words == "first 'ISIC_0024306'"
    report = ReadReport()
    twice = pd.concat([lesions(IMAGES, age=["4"] * 40), images(IMAGES[:1], lesion_id=["L0 "], age=["5"])])
    joined = join_optional(images(), twice, "image_id", name="other", minimum=0.9, report=report)
    assert joined["age"].to_list() == ["4"] * 40
    assert [(each.kind, each.count) for each in report.warnings] == [("conflicting_rows", 1)]


def test_two_tables_that_group_otherwise_are_refused():
    other = images(IMAGES, lesion_id=["L0"] * 40)
    with pytest.raises(DataError, match=r"second: 38 images have another lesion_id than in the tables before it"):
        join_tables(images(), {"first": lesions(IMAGES), "second": other}, "image_id", minimum=0.9, report=ReadReport())


def test_two_tables_may_name_the_same_lesions_otherwise():
    first = lesions(IMAGES).assign(lesion_id=lambda table: table["lesion_id"].where(table.index != 1))
    second, report = lesions(IMAGES).assign(lesion_id=lambda table: "IL_" + table["lesion_id"]), ReadReport()
    joined = join_tables(images(), {"first": first, "second": second}, "image_id", minimum=0.9, report=report)
    assert joined["lesion_id"].to_list() == lesions(IMAGES)["lesion_id"].to_list()  # the gap of first is filled
    assert [(each.kind, each.count) for each in report.warnings] == [("other_names", 39)]


def test_words_for_nothing_in_one_table_contradict_no_id_of_another():
    ours = images(IMAGES, patient_id=["NA"] * 40)
    other = images(IMAGES, patient_id=[f"P{place}" for place in range(40)])
    joined = join_optional(ours, other, "image_id", name="other", minimum=0.9, report=ReadReport())
    assert joined["patient_id"].to_list() == other["patient_id"].to_list()
