"""Settings are strict, and a message names the key, the value and what is allowed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from components.base.config import kinds
from components.base.errors import SettingsError
from flows.orchestration.policy import load_policies
from flows.settings import load_settings, parse_settings
from flows.stage import SECTIONS


@pytest.fixture
def data(repo: Path) -> dict:
    return YAML(typ="safe").load((repo / "params.yaml").read_text())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pretrain.arms.vae.epochs", 0, r"params.yaml: pretrain.arms.vae.epochs = 0: .*greater than"),
        ("backbone.kind", "resnet99", r"params.yaml: backbone.*resnet99.*convnext_tiny.*efficientnet_lite0"),
        ("finetune.imbalance", "magic", r"params.yaml: finetune.imbalance = 'magic': .*'weights'"),
        ("finetune.full.lr", 0.1, r"params.yaml: finetune.full.lr = 0.1: is no setting here"),
        ("pack.image_size", "big", r"params.yaml: pack.image_size = 'big': expected a whole number"),
        ("split.test", 0.5, r"split.train \+ split.val \+ split.test is 1.3, expected 1"),
        ("study.arms", ["vae", "imagnet"], r"study.reference is 'imagenet', expected one of study.arms"),
        ("study.seeds", [0, 0], r"study.seeds = \[0, 0\]: expected each value once, 0 is there twice"),
        ("labels.scheme", "eight", r"labels.scheme is 'eight', expected one of"),
        ("paths.split", "../split.csv", r"paths.split.*relative path inside the repository"),
        ("study.seeds", 3, r"study.seeds = 3: expected a list, such as \[a, b\]$"),
        ("study.arms", [], r"study.arms = \[\]: has 0 usable entries, expected at least 1"),
        ("compute.device", "tpu", r"compute.device = 'tpu': expected 'auto', 'cpu' or 'cuda'"),
        ("pack", 3, r"pack = 3: expected a section of `key: value`"),
        ("compare.margin", float("nan"), r"compare.margin = nan: .*finite"),
        ("compare.looks", [5, 3], r"compare.looks = \[5, 3\]: expected rising values, each once"),
        ("compare.looks", [2, 5], r"compare.looks is \[2, 5\], expected no number below compare.min_seeds 3"),
        ("compare.looks", [4, 8], r"study.seeds is \[0, 1, 2\], but compare.looks \[4, 8\] plans .*dermflow decide"),
        ("robustness.strengths", [3, 1], r"robustness.strengths = \[3, 1\]: expected rising values, each once"),
        ("robustness.strengths", [1, 6], r"robustness.strengths.1 = 6: .*less than or equal to 5"),
    ],
)
def test_an_impossible_value_names_its_key_and_what_is_allowed(
    data: dict, key: str, value: object, message: str
) -> None:
    *parents, last = key.split(".")
    place = data
    for part in parents:
        place = place[part]
    place[last] = value
    with pytest.raises(SettingsError) as caught:
        parse_settings(data, "params.yaml")
    assert re.search(message, str(caught.value)), str(caught.value)


def test_an_arm_of_the_study_without_a_definition_is_refused(data: dict) -> None:
    data["study"]["arms"] = ["imagenet", "simclr"]
    with pytest.raises(
        SettingsError, match=r"study.arms names 'simclr', expected one of pretrain.arms \['imagenet', 'random', 'vae'\]"
    ):
        parse_settings(data, "params.yaml")


def test_a_missing_or_broken_params_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nowhere.yaml: cannot be read"):
        load_settings(tmp_path / "nowhere.yaml")
    (tmp_path / "params.yaml").write_text("study: [unclosed")
    with pytest.raises(SettingsError, match=r"params.yaml: is not YAML"):
        load_settings(tmp_path / "params.yaml")


@pytest.mark.parametrize("family", ["data.adapters", "models.backbones", "pretraining"])
def test_a_kind_is_named_as_its_file(family: str) -> None:
    assert len(kinds(family)) >= 3
    for name, config in kinds(family).items():
        assert config.model_fields["kind"].default == name


def test_checking_settings_imports_no_torch(repo: Path) -> None:
    code = "import sys, flows.settings as s; s.load_settings(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repo, check=False).returncode == 0


def stages_of(repo: Path) -> dict:
    return YAML(typ="safe").load((repo / "dvc.yaml").read_text())["stages"]


def test_a_stage_takes_the_sections_that_dvc_yaml_lists(repo: Path) -> None:
    from importlib import import_module

    stages = stages_of(repo)
    assert len(stages) >= 9
    for name, entry in stages.items():
        stage = getattr(import_module(f"flows.{name}"), name)
        listed = {key.split(".")[0] for key in entry.get("do", entry)["params"]}
        assert set(stage.sections) - {"paths", "compute", "scan"} == listed, name
        assert set(stage.varying) == set(entry.get("matrix", ["arm"] if "foreach" in entry else [])), name
        assert listed <= set(SECTIONS)


def test_policy_names_stages_of_dvc_yaml(repo: Path) -> None:
    assert set(load_policies()) - {"default"} <= set(stages_of(repo))
    assert set(tomllib.loads((repo / "flows" / "orchestration" / "policy.toml").read_text())["default"]) == {
        "retries", "retry_delay_s", "deadline_s", "gpu", "first",
    }  # fmt: skip
