"""Attributes of images: age bands, thirds, and which columns define subgroups."""

from __future__ import annotations

import numpy as np
import pandas as pd

from components.clinical import attributes
from components.clinical.attributes import UNKNOWN


def test_ages_become_bands() -> None:
    ages = pd.Series([0, 39, 39.4, 40, 59, 60, 99, np.nan])
    expected = ["under 40"] * 3 + ["40 to 59"] * 2 + ["60 and over"] * 2 + [UNKNOWN]
    assert attributes.age_bands(ages, (40, 60), 8).tolist() == expected
    assert attributes.age_bands(None, (40, 60), 2).tolist() == [UNKNOWN] * 2


def test_thirds_hold_a_third_of_the_known_values() -> None:
    values = pd.Series([*np.random.default_rng(0).permutation(99), np.nan])
    words = attributes.thirds(values, ("low", "middle", "high"))
    assert [int((words == word).sum()) for word in ("low", "middle", "high", UNKNOWN)] == [33, 33, 33, 1]
    assert values[words == "low"].max() < values[words == "middle"].min()
    assert words[-1] == UNKNOWN


def test_images_are_described_in_their_order_without_constant_attributes() -> None:
    accepted = pd.DataFrame(
        {
            "image_id": ["x", "y", "z"],
            "sex": ["female", None, "male"],
            "age": [70.0, 20.0, np.nan],
            "site": ["back"] * 3,
            "skin_type": pd.array([2, pd.NA, 5], dtype="Int64"),
        }
    )
    facts = pd.DataFrame(
        {"image_id": ["z", "y", "x"], "luma": [10.0, 100.0, 200.0], "lesion_share": [0.1, np.nan, 0.6]}
    )
    table = attributes.describe(["z", "x", "y"], accepted, facts, (40, 60))
    assert table.to_dict("list") == {
        "sex": ["male", "female", UNKNOWN],
        "age": [UNKNOWN, "60 and over", "under 40"],
        "skin type": ["5", "2", UNKNOWN],
        "brightness": ["dark", "bright", "medium"],
        "lesion size": ["small", "large", UNKNOWN],
    }


def test_a_site_in_free_text_becomes_other() -> None:
    sites = ["back", "left knee of Mrs Mustermann", None, "face"]
    accepted = pd.DataFrame({"image_id": list("abcd"), "site": sites})
    found = attributes.describe(list("abcd"), accepted, accepted[["image_id"]], (40,))["site"]
    assert found.tolist() == ["back", "other", UNKNOWN, "face"]


def test_an_unknown_site_is_no_other_site() -> None:
    """The table writes `unknown` for a site that was not stated: it is no subgroup of its own."""
    accepted = pd.DataFrame({"image_id": list("abc"), "site": ["back", "unknown", "face"]})
    found = attributes.describe(list("abc"), accepted, accepted[["image_id"]], (40,))["site"]
    assert found.tolist() == ["back", UNKNOWN, "face"]
