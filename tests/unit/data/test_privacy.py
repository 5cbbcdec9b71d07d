"""Ids go on as keyed hashes, and the key stays where it belongs."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import SettingsError
from components.data.privacy import PUBLIC_KEY, fingerprint, pseudonym, pseudonymise
from flows.settings import load_settings
from flows.settings.data import Privacy
from flows.stage_io.pseudonym_key import key_file, make_key, read_key

SECRET = Privacy(key="secret")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a key is looked for; nothing is there yet."""
    (tmp_path / "repository").mkdir()
    monkeypatch.chdir(tmp_path / "repository")
    monkeypatch.setenv("DERMFLOW_KEY_FILE", str(tmp_path / "own" / "key"))
    return tmp_path / "own" / "key"


def test_a_pseudonym_is_the_hmac_of_its_definition() -> None:
    digest = hmac.new(b"k", b"patient:clinic:p1", hashlib.sha256).hexdigest()
    assert pseudonym("patient", "clinic", "p1", b"k") == f"patient-{digest[:16]}"


def test_equal_ids_stay_equal_and_other_keys_and_kinds_differ() -> None:
    table = pd.DataFrame({"patient_id": ["a", "a", "b", None], "lesion_id": ["a", "b", "", "a"]}, dtype="str")
    table = table.assign(source=["x", "x", "x", "y"])
    hidden = pseudonymise(table, ("patient_id", "lesion_id"), b"key")
    assert hidden["patient_id"].nunique() == 2
    assert hidden["patient_id"][0] == hidden["patient_id"][1]
    assert pd.isna(hidden["patient_id"][3])
    assert hidden["lesion_id"][2] == ""  # the contract names it
    assert not set(hidden["patient_id"]) & set(hidden["lesion_id"])
    assert hidden["patient_id"].dtype == "str"
    assert hidden["lesion_id"].nunique() == 4  # lesion a of another source is another
    other = pseudonymise(table, ("patient_id",), b"another")
    assert not set(hidden["patient_id"].dropna()) & set(other["patient_id"].dropna())
    assert table["patient_id"].tolist()[:3] == ["a", "a", "b"]
    assert fingerprint(b"key") != fingerprint(b"another")


def test_published_data_need_no_key(place: Path) -> None:
    assert read_key(Privacy(key="public")) == PUBLIC_KEY
    assert not place.exists()


def test_a_missing_key_says_how_to_get_one(place: Path) -> None:
    with pytest.raises(
        SettingsError, match=rf"privacy.key = 'secret'.*{re.escape(str(place))} cannot be read.*dermflow key"
    ):
        read_key(SECRET)


def test_a_made_key_is_the_owners_alone_and_never_replaced(place: Path) -> None:
    assert make_key() == place
    assert place.stat().st_mode & 0o777 == 0o600
    first = read_key(SECRET)
    assert len(first) == 64
    with pytest.raises(SettingsError, match="is there already"):
        make_key()
    assert read_key(SECRET) == first


def test_a_short_key_is_refused(place: Path) -> None:
    place.parent.mkdir()
    place.write_text("hunter2\n")
    with pytest.raises(SettingsError, match="holds 7 bytes, expected at least 32"):
        read_key(SECRET)


def test_a_key_inside_the_repository_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMFLOW_KEY_FILE", "key")
    for work in (make_key, lambda: read_key(SECRET)):
        with pytest.raises(SettingsError, match="lies in the repository"):
            work()
    assert not Path("key").exists()


def test_the_key_stands_in_the_users_own_settings_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DERMFLOW_KEY_FILE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert key_file() == tmp_path / ".config" / "dermflow" / "key"


def test_images_of_ones_own_need_the_secret_key(repo: Path, tmp_path: Path) -> None:
    text = (repo / "params.yaml").read_text()
    own = text.replace("kind: synthetic ", "kind: folder ")
    assert own != text
    (tmp_path / "params.yaml").write_text(own)
    with pytest.raises(SettingsError, match=r"privacy.key is 'public', but folder data .*set privacy.key: secret"):
        load_settings(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text(own.replace("key: public ", "key: secret "))
    assert load_settings(tmp_path / "params.yaml").privacy == SECRET
