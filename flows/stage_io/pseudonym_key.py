"""The key of the ids' hashes: a file outside the repository, made once and shared by a team."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from components.base.errors import SettingsError
from components.data.privacy import PUBLIC_KEY
from flows.settings.data import Privacy

VARIABLE = "DERMFLOW_KEY_FILE"
LEAST = 32  # bytes


def key_file() -> Path:
    """Where the key is looked for: $DERMFLOW_KEY_FILE, else in the user's own settings."""
    named = os.environ.get(VARIABLE)
    return Path(named) if named else Path.home() / ".config" / "dermflow" / "key"


def read_key(privacy: Privacy) -> bytes:
    """The key that `privacy.key` asks for; raises SettingsError where a secret one is missing or misplaced."""
    if privacy.key == "public":
        return PUBLIC_KEY
    path = key_file()
    _refuse_inside(path)
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise SettingsError(
            f"privacy.key = 'secret' (params.yaml), but {path} cannot be read ({error.strerror}): get the team's key "
            f"file, or make one with `dermflow key`; {VARIABLE} names another place. With another key the same "
            "patients get other pseudonyms"
        ) from None
    if len(key) < LEAST:
        raise SettingsError(f"{path} holds {len(key)} bytes, expected at least {LEAST}: make one with `dermflow key`")
    return key


def make_key() -> Path:
    """A new random key, readable by its owner alone; raises SettingsError rather than replace one."""
    path = key_file()
    _refuse_inside(path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SettingsError(
            f"{path} is there already, and the pseudonyms in use were made with it: keep it, or move it away first"
        ) from None
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(LEAST) + "\n")
    return path


def _refuse_inside(path: Path) -> None:
    if path.resolve().is_relative_to(Path.cwd().resolve()):
        raise SettingsError(
            f"{VARIABLE} = {path} lies in the repository, where git or DVC could carry it away with the hashes; "
            "keep it outside"
        )
