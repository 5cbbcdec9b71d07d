"""A folder is the registry of its family: names without imports, and errors that name what there is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import TypeAdapter, ValidationError

from components.base.errors import SettingsError
from components.base.families import MemberOf, load_member, members

FAMILIES = (
    "data.adapters", "models.backbones", "pretraining", "statistics.metrics", "robustness.corruptions",
)  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_every_file_and_folder_of_a_family_is_a_member(repo: Path, family: str) -> None:
    there = {path.stem for path in (repo / "components" / Path(*family.split("."))).iterdir()} - {
        "__init__",
        "__pycache__",
    }
    assert len(there) >= 3
    assert set(members(family)) == there
    assert all((load_member(family, name).__doc__ or "").partition("\n")[0] for name in members(family))


def test_names_are_read_without_importing_a_member(repo: Path) -> None:
    code = (
        "import sys; from components.base.families import members; members('models.backbones'); "
        "sys.exit(any(name.startswith(('torch', 'components.models')) for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=repo, check=False).returncode == 0


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    words = r"'fog' is no file in components/robustness/corruptions, expected one of blur, colour_cast, "
    with pytest.raises(SettingsError, match=words):
        load_member("robustness.corruptions", "fog")
    names = TypeAdapter(tuple[Annotated[str, MemberOf("robustness.corruptions")], ...])
    assert names.validate_python(["blur"]) == ("blur",)
    with pytest.raises(ValidationError, match=words):
        names.validate_python(["blur", "fog"])
