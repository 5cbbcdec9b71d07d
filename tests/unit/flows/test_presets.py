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
        ("demo", "study.arms=[vea, imagenet]", r"study.arms names 'vea', .*'random'\]; did you mean 'vae'"),
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


def write(checkout: Path, name: str, text: str) -> None:
    (checkout / "presets" / f"{name}.yaml").write_text(text)


def test_a_preset_builds_on_the_one_that_it_names(checkout: Path) -> None:
    write(checkout, "clinic", "base: ham10000  # and more\nstudy: {name: clinic}\nfinetune: {full: {epochs: 9}}\n")
    write(checkout, "night", "base: clinic\nstudy: {seeds: [5]}\npack: {image_size: 32}\n")
    presets.use("night", [])
    built = load_settings()
    assert "base:" not in (checkout / "params.yaml").read_text()
    presets.use("ham10000", ["study.name=clinic", "finetune.full.epochs=9", "study.seeds=[5]", "pack.image_size=32"])
    assert built == load_settings()


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"a": "base: b\n", "b": "base: c\n", "c": "base: a\n"}, "preset 'a' builds on itself: a -> b -> c -> a"),
        ({"a": "base: a\n"}, "preset 'a' builds on itself: a -> a"),
        ({"a": "base: ham1000\n"}, r"presets/a.yaml: base 'ham1000' is not one of .* mean 'ham10000'\?"),
        ({"a": "base: [ham10000]\n"}, r"presets/a.yaml: base \['ham10000'\] is not"),
        ({"a": "- base\n"}, "presets/a.yaml: expected sections of settings, as in presets/demo.yaml"),
        ({"a": "study: [\n"}, "presets/a.yaml: is not YAML"),
        ({"a": ""}, "presets/a.yaml: expected sections of settings"),
    ],
)
def test_a_wrong_base_is_named(checkout: Path, texts: dict[str, str], message: str) -> None:
    for name, text in texts.items():
        write(checkout, name, text)
    with pytest.raises(SettingsError, match=message):
        presets.render("a", [])


def test_use_writes_the_whole_path_of_a_home_folder(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/erika")
    cohort = "external=[{name: pad, dataset: {kind: pad_ufes, path: ~/pad}}]"
    weights = "pretrain.arms.imagenet={kind: imagenet, source: file, file: ~/w.pth, sha256: " + "a" * 64 + "}"
    presets.use("ham10000", ["dataset.path=~/ham", "validate.reference=~/validation.json", cohort, weights])
    text = (checkout / "params.yaml").read_text()
    assert "~" not in "".join(line.split("#")[0] for line in text.splitlines())
    settings = load_settings()
    assert str(settings.dataset.path) == "/home/erika/ham"
    assert str(settings.external[0].dataset.path) == "/home/erika/pad"
    assert settings.validate_.reference == "/home/erika/validation.json"
    (checkout / "params.yaml").write_text(text.replace("/home/erika/ham", "~/ham"))
    with pytest.raises(SettingsError, match=r"dataset.path = '~/ham': DVC reads .* write /home/erika/ham, which"):
        load_settings()
    with pytest.raises(SettingsError, match=r"dataset.path = '~nobody_here/x': .*no home folder of '~nobody_here'"):
        presets.use("ham10000", ["dataset.path=~nobody_here/x"])
