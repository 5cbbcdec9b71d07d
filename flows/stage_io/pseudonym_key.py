"""The key of the pseudonyms: a file outside the repository, made once and shared by a team."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from components.base.errors import SettingsError
from components.base.home import expand_home
from components.data.privacy import PUBLIC_KEY
from flows.settings.data import Privacy
from flows.tracking.checkout import real_root

VARIABLE = "DERMFLOW_KEY_FILE"
MIN_BYTES = 32


def key_file() -> Path:
    """Path of the key: $DERMFLOW_KEY_FILE, otherwise ~/.config/dermflow/key.

    A relative path starts at the checkout, also for a stage in DVC's temporary copy of it.
    """
    named = os.environ.get(VARIABLE)
    return real_root() / expand_home(Path(named)) if named else Path.home() / ".config" / "dermflow" / "key"


def read_key(privacy: Privacy) -> bytes:
    """The key that `privacy.key` selects.

    Raises:
        SettingsError: where the secret key is missing, too short or inside the repository.
    """
    if privacy.key == "public":
        return PUBLIC_KEY
    path = key_file()
    _refuse_inside(path)
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise SettingsError(
            f"privacy.key = 'secret' (params.yaml), but {path} cannot be read ({error.strerror}): get the team's key "
            f"file, or make one with `dermflow key`; {VARIABLE} names another path. With another key the same "
            "patients get other pseudonyms"
        ) from None
    if len(key) < MIN_BYTES:
        raise SettingsError(f"{path} has {len(key)} bytes, expected at least {MIN_BYTES}: make one with `dermflow key`")
    return key


def make_key() -> Path:
    """Write a new random key, readable only by its owner, and return its path.

    Raises:
        SettingsError: where there is a key already, or the path is inside the repository.
    """
    path = key_file()
    _refuse_inside(path)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SettingsError(
            f"{path} exists, and the pseudonyms in use were made with it: keep it, or move it away first"
        ) from None
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_hex(MIN_BYTES) + "\n")
    return path


def _refuse_inside(path: Path) -> None:
    if path.resolve().is_relative_to(real_root().resolve()):
        raise SettingsError(
            f"{VARIABLE} = {path} is inside the repository, where git or DVC could publish it together with the ids; "
            "move it outside"
        )
