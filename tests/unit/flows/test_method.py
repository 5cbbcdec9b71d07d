"""The stage method: a record of an arm's method that changes with its settings and code, and with nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from components.base.config import Frozen
from components.base.errors import SettingsError
from components.pretraining import vae
from flows.method import method
from flows.settings import load_settings
from flows.stage_io.methods import describe_method


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a method whose code can be changed."""
    folder = tmp_path / "own"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__init__.py").write_text("a = 1\n")
    monkeypatch.setattr("inspect.getfile", lambda _: str(folder / "__init__.py"))
    return folder


class Config(Frozen):
    kind: Literal["own"] = "own"
    epochs: int = 3


def test_the_record_changes_with_code_names_and_settings_alone(own: Path) -> None:
    first = describe_method("mine", Config())
    assert {key: first[key] for key in ("arm", "kind", "settings")} == {
        "arm": "mine", "kind": "own", "settings": {"kind": "own", "epochs": 3}
    }  # fmt: skip
    (own / "__pycache__" / "x.pyc").write_bytes(b"compiled")
    assert describe_method("mine", Config()) == first
    (own / "network.py").write_text("b = 2\n")
    second = describe_method("mine", Config())
    assert second["sha256"] != first["sha256"]
    (own / "network.py").rename(own / "net.py")
    assert describe_method("mine", Config())["sha256"] not in (first["sha256"], second["sha256"])
    (own / "net.py").unlink()
    assert describe_method("mine", Config()) == first
    assert describe_method("mine", Config(epochs=4)) != first


def test_the_stage_records_the_arm_of_the_settings(repo: Path) -> None:
    pretrain = load_settings(repo / "params.yaml").pretrain
    found = {arm: method.work(arm=arm, pretrain=pretrain) for arm in pretrain.arms}
    assert found["vae"]["settings"] == pretrain.arms["vae"].model_dump(mode="json")
    assert len({record["sha256"] for record in found.values()}) == len({record["kind"] for record in found.values()})
    assert describe_method("vae", vae.Config(**vae.EXAMPLE))["sha256"] == found["vae"]["sha256"]


def test_an_unknown_arm_is_refused(repo: Path) -> None:
    with pytest.raises(SettingsError, match=r"arm 'vea' is none of pretrain.arms"):
        method.work(arm="vea", pretrain=load_settings(repo / "params.yaml").pretrain)


def test_the_stage_does_not_import_torch(repo: Path) -> None:
    code = "import sys, flows.method; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
