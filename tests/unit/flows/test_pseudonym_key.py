"""The key of the pseudonyms is a file outside the repository that is never replaced."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.base.errors import SettingsError
from components.data.privacy import PUBLIC_KEY
from flows.settings import load_settings
from flows.settings.data import Privacy
from flows.stage_io.pseudonym_key import key_file, make_key, read_key

SECRET = Privacy(key="secret")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Path of the key; no file is there yet."""
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    monkeypatch.setenv("DERMFLOW_KEY_FILE", str(tmp_path / "own" / "key"))
    return tmp_path / "own" / "key"


def test_published_data_need_no_key(place: Path) -> None:
    assert read_key(Privacy(key="public")) == PUBLIC_KEY
    assert not place.exists()


def test_a_missing_key_says_how_to_get_one(place: Path) -> None:
    with pytest.raises(
        SettingsError, match=rf"privacy.key = 'secret'.*{re.escape(str(place))} cannot be read.*dermflow key"
    ):
        read_key(SECRET)


def test_a_new_key_is_readable_by_its_owner_only_and_never_replaced(place: Path) -> None:
    assert make_key() == place
    assert place.stat().st_mode & 0o777 == 0o600
    first = read_key(SECRET)
    assert len(first) == 64
    with pytest.raises(SettingsError, match="exists, and the pseudonyms"):
        make_key()
    assert read_key(SECRET) == first


def test_a_short_key_is_refused(place: Path) -> None:
    place.parent.mkdir()
    place.write_text("hunter2\n")
    with pytest.raises(SettingsError, match="has 7 bytes, expected at least 32"):
        read_key(SECRET)


def test_a_key_inside_the_repository_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMFLOW_KEY_FILE", "key")
    for work in (make_key, lambda: read_key(SECRET)):
        with pytest.raises(SettingsError, match="is inside the repository"):
            work()
    assert not Path("key").exists()


def test_the_key_is_in_the_users_configuration_folder_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("DERMFLOW_KEY_FILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert key_file() == tmp_path / ".config" / "dermflow" / "key"


def test_unpublished_images_need_the_secret_key(repo: Path, tmp_path: Path) -> None:
    text = (repo / "params.yaml").read_text()
    own = text.replace("kind: synthetic ", "kind: folder ")
    assert own != text
    (tmp_path / "params.yaml").write_text(own)
    with pytest.raises(SettingsError, match=r"privacy.key is 'public', but folder data .*set privacy.key: secret"):
        load_settings(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text(own.replace("key: public ", "key: secret "))
    assert load_settings(tmp_path / "params.yaml").privacy == SECRET
