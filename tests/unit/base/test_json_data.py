"""Plain data is what JSON can hold, and equal results give equal text."""

from __future__ import annotations

import json
import math

from components.base.json_data import plain


def test_numbers_have_six_decimals_and_unknown_ones_are_null() -> None:
    values = {"a": 1 / 3, "b": [math.nan, math.inf], "c": (1, "word", None, True)}
    assert plain(values) == {"a": 0.333333, "b": [None, None], "c": [1, "word", None, True]}


def test_a_small_negative_number_is_zero_without_a_sign() -> None:
    assert json.dumps(plain([-1e-9, -0.0])) == "[0.0, 0.0]"


def test_keys_become_text() -> None:
    assert plain({1: {0.5: "x"}}) == {"1": {"0.5": "x"}}
