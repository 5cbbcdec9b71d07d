"""The settings of the robustness analysis are checked before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from components.robustness.settings import Robustness

GOOD = {"corruptions": ["blur", "noise"], "strengths": [1, 3], "images": None, "border": 0.12, "seed": 0}


def test_corruptions_keep_the_order_in_which_they_are_named() -> None:
    assert Robustness(**GOOD).corruptions == ("blur", "noise")
    assert Robustness(**GOOD | {"corruptions": ["noise", "blur"]}).corruptions == ("noise", "blur")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "corruptions",
            ["blur", "fog"],
            r"'fog' is no file in components/robustness/corruptions, expected one of blur",
        ),
        ("corruptions", ["blur", "blur"], r"expected each value once, blur is there twice"),
        ("corruptions", [], r"at least 1 item"),
        ("strengths", [3, 1], r"expected rising values, each once"),
        ("strengths", [6], r"less than or equal to 5"),
    ],
)
def test_an_impossible_value_is_named(key: str, value: list, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Robustness(**GOOD | {key: value})


def test_the_demo_uses_the_seven_corruptions_in_alphabetical_order(repo: Path) -> None:
    section = YAML(typ="safe").load((repo / "presets" / "demo.yaml").read_text())["robustness"]
    assert section["corruptions"] == ["blur", "colour_cast", "exposure", "hair", "jpeg", "noise", "ruler"]


def test_settings_import_no_torch() -> None:
    code = "import sys, components.robustness.settings; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
