"""`~` and `~user` at the start of a path: the home folder of a user.

params.yaml holds paths as they are on disk, since DVC reads them there for its deps and knows no `~`. So a setting with
`~` is refused with the path to write, and `dermflow use` writes that path.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic_core import PydanticCustomError

from components.base.errors import SettingsError

HOME_ERROR = "home_folder"
"""Type of the validation error; its context has the path to write as `expanded`."""

T = TypeVar("T", str, Path)


def expand_home(path: Path) -> Path:
    """The path with the home folder instead of `~` or `~user`; other paths as they are.

    Raises:
        SettingsError: where no home folder of that user is known.
    """
    if not str(path).startswith("~"):
        return path
    try:
        return path.expanduser()
    except RuntimeError:
        raise SettingsError(
            f"{path}: no home folder of {path.parts[0]!r} is known here; write the whole path"
        ) from None


def without_home(value: T) -> T:
    """The value of a setting itself; refused where it begins with `~`."""
    try:
        expanded = str(expand_home(Path(value)))
    except SettingsError as error:
        raise ValueError(str(error)) from None
    if expanded != str(Path(value)):
        raise PydanticCustomError(
            HOME_ERROR,
            "DVC reads this path too and knows no ~: write {expanded}, which `dermflow use` does by itself",
            {"expanded": expanded},
        )
    return value
