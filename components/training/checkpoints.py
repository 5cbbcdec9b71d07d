"""The resume state on disk: the newest and the one before it, each written whole, refused under other settings.

This module imports torch only where it reads a state: stages that only move states do not wait for it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.base.errors import CheckpointError
from components.base.log import Log

STATE = "last.ckpt"
FORMER = "former.ckpt"
SETTINGS = "dermflow_settings"
"""Key of a state's content under which its settings are."""

_delayed: ContextVar[Path | None] = ContextVar("delayed", default=None)
"""The folder that `kept_until_end` keeps."""


class StaleStateError(CheckpointError):
    """A resume state that cannot be used: made by other settings or other code, or broken."""


@dataclass(frozen=True)
class State:
    """A resume state that was made under the current settings."""

    path: Path
    content: Mapping[str, Any]


def find_state(folder: Path | None, settings: Mapping[str, str], what: str, log: Log) -> State | None:
    """The newest resume state in `folder` that can be read, if any.

    Args:
        folder: the folder of the resume state; None: there is none.
        settings: all that the result depends on, as `flat` gives it.
        what: name of the training in errors and log lines.
        log: receives a line where the newest state is broken and the one before it is taken.

    Raises:
        StaleStateError: where the state was made under other settings, or no state there can be read.
    """
    present = [folder / name for name in (STATE, FORMER) if (folder / name).is_file()] if folder else []
    broken: list[StaleStateError] = []
    for path in present:
        try:
            state = State(path, _read(path))
        except StaleStateError as error:
            broken.append(error)
            continue
        _check_settings(state, settings, what)
        if broken:
            log.line(f"{what}: {present[0]} cannot be read, continuing from {path}, written before it")
            present[0].unlink(missing_ok=True)  # it must not become the former
        return state
    if broken:
        raise broken[0]
    return None


def _check_settings(state: State, settings: Mapping[str, str], what: str) -> None:
    then = state.content[SETTINGS]
    for key in sorted(then.keys() | settings.keys()):
        old, new = then.get(key, "nothing"), settings.get(key, "nothing")
        if old != new:
            raise StaleStateError(
                f"{what}: {state.path} was made with {key} = {old}, but now it is {new}: "
                f"delete {state.path.parent} to start again, or set {key} back to continue (params.yaml)"
            )


def check_weights(state: State, weights: Mapping[str, Any], what: str) -> None:
    """Raise StaleStateError where the tensors of a state are not those of the module's state dict."""
    then = {name: tuple(tensor.shape) for name, tensor in state.content["state_dict"].items()}
    now = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(then.keys() | now.keys()):
        old, new = then.get(name, "no tensor"), now.get(name, "no tensor")
        if old != new:
            raise StaleStateError(
                f"{what}: {state.path} holds {old} as {name}, the net has {new}: other code made it; "
                f"delete {state.path.parent} to start again, or go back to that code"
            )


def callback_state(state: State, key: str, what: str) -> dict[str, Any]:
    """The part of a state that the callback with that key saved; StaleStateError where it is not there."""
    states: Mapping[str, dict[str, Any]] = state.content["callbacks"]
    if key not in states:
        raise StaleStateError(
            f"{what}: {state.path} holds states of {sorted(states)}, expected {key!r} among them: other code made it; "
            f"delete {state.path.parent} to start again, or go back to that code"
        )
    return states[key]


def _read(path: Path) -> dict[str, Any]:
    """The content of a resume state; no code in the file is executed."""
    import torch

    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        _ = content[SETTINGS], content["callbacks"], content["state_dict"]
    except Exception as error:  # torch raises many kinds for a broken file
        raise StaleStateError(f"{path}: is no resume state ({error}); delete {path.parent} to start again") from error
    return content


def unfinished_state(folder: Path) -> Path:
    """The path for writing a new state; `keep_state` makes it the newest."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{STATE}.part"


def keep_state(folder: Path) -> None:
    """Move the state that was just written into place; the one before it is kept, in case the newest is broken."""
    newest = folder / STATE
    if newest.is_file():
        newest.replace(folder / FORMER)
    unfinished_state(folder).replace(newest)


@contextmanager
def kept_until_end(folder: Path) -> Iterator[None]:
    """Delay `forget_state` of this folder to the end of the block, since more is written after the training."""
    token = _delayed.set(folder)
    try:
        yield
    finally:
        _delayed.reset(token)
    forget_state(folder)


def forget_state(folder: Path) -> None:
    """Delete the folder; it is first moved in one step, so that a kill leaves the whole folder or none of it."""
    if folder == _delayed.get():
        return
    gone = folder.with_name(f".{folder.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    if folder.is_dir():
        folder.replace(gone)
        shutil.rmtree(gone, ignore_errors=True)


def set_aside(folder: Path) -> Path:
    """Rename the folder to `<name>.aside`, replacing an earlier one; rename it back to continue from it.

    Returns:
        The new path.
    """
    aside = folder.with_name(f"{folder.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    return folder.replace(aside)


def flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted keys and JSON values.

    >>> flat({"finetune": {"batch_size": 8}, "seed": 0})
    {'finetune.batch_size': '8', 'seed': '0'}
    """
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.dumps(value)
    return found
