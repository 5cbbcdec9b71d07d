"""Keys of other tools: MLflow accepts each, and each can be read back, so that no two texts share a key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import combinations

import mlflow.utils.validation
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from components.base.keys import LONGEST, NO_CHARACTER, Key, as_key, flat_keys

CLASSES = (
    "mel, in-situ", "nevus (benign)", "nevus benign", "a+b", "ab", "a b", "$x^$", "übrige", "u\u0308brige", "a/b",
    "a|b", "a_b", "a.b", "a:b", "a\nb", "a\tb", " a", "😀", "👩🏽‍⚕️", "_x", "_x002B_", "a_x002B_b", "a_xb",
    "/", "//", ".", "..",
    "...", "../a", "a/", "/a", "a/./b", "", "\x00", "<b>", "&", '"', "'", "%41", "A", "Å", "\udc80", "x" * 250,
    "x" * 251, "x" * 300, "ü" * 251, "(" * 60,
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.text("_x02BF./ab+(", max_size=12), st.sampled_from(CLASSES))


def read_back(key: str) -> str:
    """The inverse, for keys that were not shortened."""
    codes = {"110000": ""}
    return re.sub(r"_x([0-9A-F]{4,6})_", lambda found: codes.get(found[1]) or _character(found[1]), key)


def _character(code: str) -> str:
    return "" if int(code, 16) > 0x10FFFF else chr(int(code, 16))


@given(TEXTS)
@example("_x002B,")
@example(",x002B_")
@example("_x,")
@example("__x002B__x")
@example("._x002E_")
def test_a_key_can_be_read_back(text: str) -> None:
    key = as_key(text)
    if len(key) < LONGEST:  # a longer one ends with a hash
        assert read_back(key) == text


@given(TEXTS)
def test_mlflow_accepts_every_key_for_metrics_params_and_tags(text: str) -> None:
    key = as_key(text)
    mlflow.utils.validation._validate_metric(key, 1.0, 0, 0)
    mlflow.utils.validation._validate_param(key, "value")
    mlflow.utils.validation._validate_tag(key, "value")


@given(TEXTS, st.sampled_from(["/", "."]))
def test_a_nested_name_can_be_read_back_and_is_accepted(text: str, joint: str) -> None:
    (key,) = flat_keys({"classes": {text: {"images": 1}}}, joint)
    mlflow.utils.validation._validate_metric(key, 1.0, 0, 0)
    if len(key) < LONGEST:
        assert read_back(key) == joint.join(["classes", text, "images"])


@given(st.dictionaries(TEXTS, st.one_of(st.just(1), st.dictionaries(TEXTS, st.just(1), min_size=1)), min_size=1))
def test_no_two_paths_of_names_share_a_key(tree: Mapping[str, object]) -> None:
    paths = [1 for value in tree.values() for _ in (value if isinstance(value, dict) else [1])]
    assert len(flat_keys({"free": tree}, "/")) == len(paths)


def test_the_joint_inside_a_name_is_escaped_where_two_paths_would_be_one_key() -> None:
    assert flat_keys({"classes": {"a/b": 1, "a": {"b": 2}}}, "/") == {"classes/a_x002F_b": 1, "classes/a/b": 2}
    schemes = flat_keys({"schemes": {"s.a": {"b": 1}, "s": {"a.b": 2}}}, ".")
    assert schemes == {"schemes.s_x002E_a.b": 1, "schemes.s.a_x002E_b": 2}


@given(st.from_regex(r"[\w\-. :/]*", fullmatch=True))
def test_a_text_that_mlflow_accepts_stays_as_it_is(text: str) -> None:
    accepted = len(text) <= LONGEST and not mlflow.utils.validation.path_not_unique(text)
    if accepted and not re.search("_x[0-9A-F]{4}", text):
        assert as_key(text) == text


def test_the_classes_that_people_have_get_different_keys() -> None:
    keys = {text: as_key(text) for text in CLASSES}
    assert [pair for pair in combinations(CLASSES, 2) if keys[pair[0]] == keys[pair[1]]] == []
    assert keys["a+b"] == "a_x002B_b" and keys["nevus benign"] == "nevus benign" and keys["😀"] == "_x1F600_"
    assert keys["übrige"] == "übrige" and keys[""] == NO_CHARACTER


def test_a_long_name_keeps_its_beginning_and_gets_a_hash() -> None:
    first, second = as_key("melanoma " * 40 + "1"), as_key("melanoma " * 40 + "2")
    assert first != second and len(first) == len(second) == LONGEST
    assert first[:200] == second[:200] == ("melanoma " * 40)[:200]


def test_a_key_is_not_escaped_twice() -> None:
    assert as_key(as_key("a+b")) == as_key("a+b")
    assert as_key(str(as_key("a+b"))) != as_key("a+b")


def test_names_of_curves_keep_their_slash_at_every_depth() -> None:
    values = {"val/loss": 1, "first": {"val/loss": 2}, "classes": {"a/b": 3, "c": {}}}
    assert flat_keys(values, "/") == {"val/loss": 1, "first/val/loss": 2, "classes/a/b": 3}
    assert flat_keys({"schemes": {"two": {"Dr. X": ["x"]}}}, ".") == {"schemes.two.Dr. X": ["x"]}


@pytest.mark.parametrize("joint", ["/", "."])
def test_keys_as_before_for_plain_names(joint: str) -> None:
    plain = {"vae-frozen-0": {"balanced_accuracy": 0.5, "sensitivity": {"mel": 0.25}}}
    assert list(flat_keys(plain, joint)) == [
        f"vae-frozen-0{joint}balanced_accuracy",
        f"vae-frozen-0{joint}sensitivity{joint}mel",
    ]
    assert all(isinstance(key, Key) for key in flat_keys(plain, joint))
