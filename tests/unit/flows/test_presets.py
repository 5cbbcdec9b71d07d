"""Presets: each is valid, keeps its comments, and a refused change leaves params.yaml as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.base.errors import SettingsError
from flows import presets
from flows.settings import load_settings


@pytest.fixture
def checkout(repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the presets, to write a params.yaml in."""
    (tmp_path / "presets").mkdir()
    for path in (repo / "presets").glob("*.yaml"):
        (tmp_path / "presets" / path.name).write_text(path.read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_params_yaml_is_the_demo_preset(repo: Path) -> None:
    assert (repo / "params.yaml").read_text() == (repo / "presets" / "demo.yaml").read_text()


def test_demo_written_through_the_command_equals_the_committed_file(checkout: Path, repo: Path) -> None:
    presets.use("demo", [])
    assert (checkout / "params.yaml").read_text() == (repo / "params.yaml").read_text()


def test_every_preset_is_valid_and_keeps_the_comments(checkout: Path) -> None:
    names = presets.preset_names()
    assert {"demo", "ham10000", "ham10000-gpu", "paper"} <= set(names)
    for name in names:
        text = presets.render(name, [])
        assert "# pixels, square" in text
        assert "# lesions or patients" in text


def test_use_shows_the_difference_and_sets_nested_values(checkout: Path) -> None:
    presets.use("demo", [])
    difference = presets.use("ham10000", ["dataset.path=elsewhere/ham", "finetune.full.epochs=2"])
    assert "+  path: elsewhere/ham" in difference
    settings = load_settings()
    assert (str(settings.dataset.path), settings.finetune.full.epochs, settings.study.name) == (
        "elsewhere/ham",
        2,
        "ham10000",
    )
    assert presets.use("ham10000", ["dataset.path=elsewhere/ham", "finetune.full.epochs=2"]) == ""


@pytest.mark.parametrize(
    ("preset", "change", "message"),
    [
        ("damo", "study.name=x", r"preset 'damo' is not one of \['demo', 'ham10000'"),
        ("demo", "finetune.ful.epochs=3", r"ful.epochs is no setting; the settings under finetune.ful are: nothing"),
        ("demo", "finetune.full.epoch=3", r"under finetune.full are: epochs, learning_rate"),
        ("demo", "study.name", r"'study.name' is not key=value"),
        ("demo", "pack.image_size=0", r"pack.image_size = 0: "),
    ],
)
def test_use_refuses_and_leaves_params_alone(checkout: Path, preset: str, change: str, message: str) -> None:
    presets.use("demo", [])
    before = (checkout / "params.yaml").read_text()
    with pytest.raises(SettingsError, match=message):
        presets.use(preset, [change])
    assert (checkout / "params.yaml").read_text() == before


def test_one_value_is_edited_and_the_rest_is_kept(repo: Path) -> None:
    """A place in a list is its number."""
    text = (repo / "params.yaml").read_text().replace("external: []", "external: [{name: pad, dataset: {kind: a}}]")
    edited = presets.edit(text, "external.0.dataset.path=/data/pad")
    assert "external: [{name: pad, dataset: {kind: a, path: /data/pad}}]" in edited
    assert edited.count("#") == text.count("#")
    with pytest.raises(SettingsError, match=r"use: external\.1\.name is no setting; .* under external\.1 are: nothing"):
        presets.edit(text, "external.1.name=x")
