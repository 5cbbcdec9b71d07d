"""The resume state on disk: the newest and the one before it, each written whole, refused under other settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from components.errors import CheckpointError
from components.log import Log

STATE = "last.ckpt"
FORMER = "former.ckpt"
SETTINGS = "dermflow_settings"


@dataclass(frozen=True)
class State:
    """A resume state that fits the present settings."""

    path: Path
    content: Mapping[str, Any]


def find_state(folder: Path | None, conditions: Mapping[str, str], what: str, log: Log) -> State | None:
    """The newest resume state in `folder` that can be read, if any; refused when made under other conditions."""
    present = [folder / name for name in (STATE, FORMER) if (folder / name).is_file()] if folder else []
    broken: list[CheckpointError] = []
    for path in present:
        try:
            state = State(path, _read(path))
        except CheckpointError as error:
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
            raise CheckpointError(
                f"{what}: {state.path} was made with {key} = {old}, but now it is {new}: "
                f"delete {state.path.parent} to start anew, or set {key} back to go on (params.yaml)"
            )


def _read(path: Path) -> dict[str, Any]:
    """A resume state's content; no code in it is run."""
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        _ = content[SETTINGS], content["callbacks"]
    except Exception as error:  # torch raises many kinds for a broken file
        raise CheckpointError(f"{path}: is no resume state ({error}); delete {path.parent} to start anew") from error
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


def flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted keys and JSON values."""
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = json.dumps(value)
    return found
