"""The resume state on disk: the newest and the one before it, each written whole, refused under other settings."""

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
_kept: ContextVar[Path | None] = ContextVar("kept", default=None)


class StaleStateError(CheckpointError):
    """A resume state is of no use to who found it: other settings or other code made it, or it is broken."""


@dataclass(frozen=True)
class State:
    """A resume state that fits the present settings."""

    path: Path
    content: Mapping[str, Any]


def find_state(folder: Path | None, conditions: Mapping[str, str], what: str, log: Log) -> State | None:
    """The newest resume state in `folder` that can be read, if any; refused when made under other conditions."""
    present = [folder / name for name in (STATE, FORMER) if (folder / name).is_file()] if folder else []
    broken: list[StaleStateError] = []
    for path in present:
        try:
            state = State(path, _read(path))
        except StaleStateError as error:
            broken.append(error)
            continue
        _check_conditions(state, conditions, what)
        if broken:
            log.line(f"{what}: {present[0]} cannot be read, going on from {path}, written before it")
            present[0].unlink(missing_ok=True)  # it must not become the former
        return state
    if broken:
        raise broken[0]
    return None


def _check_conditions(state: State, conditions: Mapping[str, str], what: str) -> None:
    then = state.content[SETTINGS]
    for key in sorted(then.keys() | conditions.keys()):
        old, new = then.get(key, "nothing"), conditions.get(key, "nothing")
        if old != new:
            raise StaleStateError(
                f"{what}: {state.path} was made with {key} = {old}, but now it is {new}: "
                f"delete {state.path.parent} to start anew, or set {key} back to go on (params.yaml)"
            )


def check_weights(state: State, weights: Mapping[str, Any], what: str) -> None:
    """Refuse a state whose tensors are not those of the module's state dict: other code made it."""
    then = {name: tuple(tensor.shape) for name, tensor in state.content["state_dict"].items()}
    now = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    for name in sorted(then.keys() | now.keys()):
        old, new = then.get(name, "no tensor"), now.get(name, "no tensor")
        if old != new:
            raise StaleStateError(
                f"{what}: {state.path} holds {old} as {name}, the net has {new}: other code made it; "
                f"delete {state.path.parent} to start anew, or go back to that code"
            )


def _read(path: Path) -> dict[str, Any]:
    """A resume state's content; no code in it is run."""
    import torch  # here: who only moves states about need not wait for it

    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        _ = content[SETTINGS], content["callbacks"], content["state_dict"]
    except Exception as error:  # torch raises many kinds for a broken file
        raise StaleStateError(f"{path}: is no resume state ({error}); delete {path.parent} to start anew") from error
    return content


def unfinished_state(folder: Path) -> Path:
    """Where to write a new state; `keep_state` makes it the newest."""
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{STATE}.part"


def keep_state(folder: Path) -> None:
    """Move the state that was just written into place; the one before it stays, for `find_state` to fall back on."""
    newest = folder / STATE
    if newest.is_file():
        newest.replace(folder / FORMER)
    unfinished_state(folder).replace(newest)


@contextmanager
def kept_until_end(folder: Path) -> Iterator[None]:
    """Where more follows what a training saves, such as records of it: `forget_state` waits for the block's end."""
    token = _kept.set(folder)
    try:
        yield
    finally:
        _kept.reset(token)
    forget_state(folder)


def forget_state(folder: Path) -> None:
    """Take the folder away, in one move first: a kill meanwhile leaves all of it or nothing."""
    if folder == _kept.get():
        return
    gone = folder.with_name(f".{folder.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    if folder.is_dir():
        folder.replace(gone)
        shutil.rmtree(gone, ignore_errors=True)


def set_aside(folder: Path) -> Path:
    """Move the folder out of the way, in the place of what was set aside before; move it back to go on from it."""
    aside = folder.with_name(f"{folder.name}.aside")
    shutil.rmtree(aside, ignore_errors=True)
    return folder.replace(aside)


def flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted keys and JSON values."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.dumps(value)
    return found
