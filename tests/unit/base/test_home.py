"""`~` is a home folder, and no setting keeps it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from components.base.config import Frozen
from components.base.errors import SettingsError
from components.base.home import expand_home


class Place(Frozen):
    """Settings with a path."""

    folder: Path
    other: Path | None = None


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/erika")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("~/ham", "/home/erika/ham"),
        ("~", "/home/erika"),
        ("~root/x", f"{Path('~root').expanduser()}/x"),
        ("data/~/x", "data/~/x"),
        ("data/x~", "data/x~"),
        ("$HOME/x", "$HOME/x"),
    ],
)
def test_only_a_leading_home_folder_is_expanded(given: str, expected: str) -> None:
    assert str(expand_home(Path(given))) == expected


def test_a_home_folder_of_nobody_is_named() -> None:
    with pytest.raises(SettingsError, match=r"~nobody_here/x: no home folder of '~nobody_here' is known here"):
        expand_home(Path("~nobody_here/x"))


def test_every_path_among_settings_refuses_a_home_folder_with_the_path_to_write() -> None:
    assert Place(folder="data/raw").folder == Path("data/raw")
    with pytest.raises(ValidationError, match="write /home/erika/raw, which `dermflow use` does"):
        Place(folder="~/raw")
    with pytest.raises(ValidationError, match="write /home/erika/x"):
        Place(folder="data", other="~/x")
