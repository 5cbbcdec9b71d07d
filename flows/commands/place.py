"""The checkout that a command works in: found from any folder inside it, as git does."""

from __future__ import annotations

import os
from pathlib import Path

from components.base.errors import RunError
from components.base.home import expand_home

_START = [Path()]
"""The folder that the command was started in, relative paths of whose arguments begin there."""


def find_root(start: Path) -> Path | None:
    """The nearest folder at or above `start` with params.yaml or dvc.yaml beside flows/ or presets/."""
    for folder in (start, *start.parents):
        if any((folder / name).is_file() for name in ("dvc.yaml", "params.yaml")) and any(
            (folder / name).is_dir() for name in ("flows", "presets")
        ):
            return folder
    return None


def enter_root(*, required: bool) -> None:
    """Make the checkout the current folder.

    Raises:
        RunError: where there is none and the command needs one.
    """
    here = Path.cwd()
    _START[0] = here
    if (here / "params.yaml").is_file():
        return
    root = find_root(here)
    if root is not None:
        os.chdir(root)
    elif required:
        raise RunError(f"{here} is in no checkout of Dermflow: change into a clone of its repository first")


def given(path: Path) -> Path:
    """A path argument as the user meant it: `~` is the home folder, a relative path begins where the command did."""
    whole = expand_home(path)
    return whole if _START[0] == Path.cwd() or whole.is_absolute() else _START[0] / whole


def given_model(model: str | None) -> str | None:
    """The option --model: a folder that is there is named as `given` names it; anything else stays as it is."""
    if model is None:
        return None
    folder = given(Path(model))
    return str(folder) if folder.is_dir() else model
