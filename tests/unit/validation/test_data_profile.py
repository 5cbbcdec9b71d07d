"""The data set's profile: numbers counted by hand, the same for any order of rows, and only like is compared."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest

from components.base.errors import DataError
from components.validation.data_profile import QUANTILES, class_shares, known, profile, read_reference

CLASSES = ("mel", "nv")


def table(count: int = 101) -> pd.DataFrame:
    """Rows with a group each, whose luma counts up from 0."""
    return pd.DataFrame(
        {
            "label": np.resize(["mel", "nv", "nv", "nv"], count),
            "group": [f"g{n}" for n in range(count)],
            "age": 50.0,
            "sex": "female",
            "site": "back",
            "skin_type": pd.array([2] * count, dtype="Int64"),
            "width": 200,
            "height": np.arange(count) + 100,
            "luma": np.arange(count, dtype="float64"),
            "sharpness": 40.0,
            "saturation": 0.25,
            "vignette": 0.0,
            "source": np.resize(["isic", "pad"], count),
        }
    )


def test_quantiles_of_whole_numbers_are_those_numbers() -> None:
    made = profile(table(), CLASSES)["quantiles"]
    assert made["luma"] == {"q05": 5, "q25": 25, "q50": 50, "q75": 75, "q95": 95}
    assert made["side"] == {"q05": 105, "q25": 125, "q50": 150, "q75": 175, "q95": 195}
    assert made["vignette"] == dict.fromkeys(QUANTILES, 0)


def test_quantiles_are_numpys_within_six_digits() -> None:
    sharpness = np.random.default_rng(0).lognormal(4, 1, 500)
    made = profile(table(500).assign(sharpness=sharpness), CLASSES)["quantiles"]["sharpness"]
    assert list(made.values()) == pytest.approx(np.quantile(sharpness, list(QUANTILES.values())), rel=1e-5)


def test_shares_are_those_counted_by_hand() -> None:
    rows = table(8)
    rows["label"] = [*"mn", *[None] * 6]
    rows["label"] = rows["label"].map({"m": "mel", "n": "nv"})
    rows["group"] = [*"aabbccdd"]
    rows["sex"] = ["unknown"] * 2 + ["male"] * 6
    rows["site"] = "unknown"
    rows["age"] = [np.nan] * 4 + [30.0] * 4
    rows["skin_type"] = pd.array([None, *[6] * 7], dtype="Int64")
    made = profile(rows, CLASSES)
    assert (made["rows"], made["groups"], made["labelled"]) == (8, 4, 0.25)
    assert made["classes"] == {"mel": 0.5, "nv": 0.5}
    assert made["missing"] == {"age": 0.5, "sex": 0.25, "site": 1, "skin_type": 0.125}
    assert made["sources"] == {"isic": 0.5, "pad": 0.5}


def test_a_profile_is_json_and_no_order_of_rows_changes_it() -> None:
    rows = table().assign(luma=np.random.default_rng(1).uniform(0, 255, 101))
    text = json.dumps(profile(rows, CLASSES), allow_nan=False)
    assert json.dumps(profile(rows.sample(frac=1, random_state=2), CLASSES)) == text
    assert read_reference(json.loads(text), CLASSES).model_dump() == json.loads(text)


def test_classes_that_nobody_has_and_unlabelled_rows_have_share_zero() -> None:
    none = pd.Series([None, None], dtype="str")
    assert class_shares(none, CLASSES) == {"mel": 0, "nv": 0}
    assert profile(table().assign(label=None), CLASSES)["labelled"] == 0


def test_what_no_image_has_is_left_out() -> None:
    assert "vignette" not in profile(table().assign(vignette=np.nan), CLASSES)["quantiles"]


def test_unknown_is_missing_and_the_table_stays_as_it_is() -> None:
    rows = table(4).assign(sex="unknown")
    assert known(rows)["sex"].isna().all() and known(rows)["site"].notna().all()
    assert (rows["sex"] == "unknown").all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rows": 0}, r"the reference profile: rows = 0: .*\n.*validate\.reference, params\.yaml"),
        ({"groups": None}, r"the reference profile: groups = None"),
        ({"classes": {"mel": 2.0, "nv": 0.0}}, r"classes\.mel = 2\.0"),
        ({"more": 1}, r"the reference profile: more = 1"),
        (
            {"classes": {"mel": 0.5, "bcc": 0.5}},
            r"has the classes \['mel', 'bcc'\], expected \['mel', 'nv'\]; name a version .*validate\.reference",
        ),
    ],
)
def test_a_reference_that_cannot_be_compared_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=re.compile(message, re.DOTALL)):
        read_reference(profile(table(), CLASSES) | changes, CLASSES)
