"""Plain data is what JSON can hold, and equal results give equal text."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from components.base.json_data import plain


def test_numbers_are_kept_in_full_and_unknown_ones_are_null() -> None:
    values = {"a": 1 / 3, "b": [math.nan, math.inf], "c": (1, "word", None, True)}
    assert plain(values) == {"a": 1 / 3, "b": [None, None], "c": [1, "word", None, True]}


def test_zero_has_no_sign() -> None:
    assert json.dumps(plain([-0.0, 0.0])) == "[0.0, 0.0]"


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_what_json_holds_is_the_same_number(value: float) -> None:
    assert json.loads(json.dumps(plain({"value": value})))["value"] == value
    assert plain(np.float64(value)) == value


def test_keys_become_text() -> None:
    assert plain({1: {0.5: "x"}}) == {"1": {"0.5": "x"}}
