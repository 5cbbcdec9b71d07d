"""The deps of dvc.yaml are the code that a stage's result is made by: no less, and nothing of an alternative."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from components.base.config import OneOf
from components.base.errors import SettingsError
from components.base.families import MemberOf
from flows.orchestration.code_graph import NO_EFFECT, CodeGraph
from flows.orchestration.freshness import (
    CHOICES,
    StageEntry,
    check_members,
    code_of,
    read_stages,
    with_code,
    write_graph,
)
from flows.settings import PARAMS, Settings, read_yaml


@pytest.fixture(scope="module")
def params(repo: Path) -> dict[str, Any]:
    return read_yaml(repo / PARAMS)


def test_dvc_yaml_lists_what_the_imports_say(repo: Path, params: dict[str, Any]) -> None:
    text = (repo / "dvc.yaml").read_text()
    assert with_code(text, repo, params) == text, "dvc.yaml: deps are not up to date, run `make graph`"


def test_every_file_in_the_deps_exists(repo: Path) -> None:
    listed = [dep for entry in read_stages(repo) for dep in entry.body["deps"] if re.match("flows/|components/", dep)]
    assert len(listed) > 200
    assert [dep for dep in listed if "${" not in dep and not (repo / dep).exists()] == []


def test_no_stage_depends_on_a_folder_of_alternatives(repo: Path) -> None:
    families = {f"components/{choice.family.replace('.', '/')}" for choice in CHOICES}
    assert len(families) == 6
    for entry in read_stages(repo):
        assert not families & set(entry.body["deps"]), entry.name


def test_every_setting_that_names_a_member_has_its_choice() -> None:
    """Families are found in the types of the settings, wherever they stand."""
    found = {(section, family) for section, field in fields_of(Settings).items() for family in families_in(field)}
    assert found == {(choice.section, choice.family) for choice in CHOICES}


def fields_of(model: type[BaseModel]) -> dict[str, list[Any]]:
    return {f.alias or name: [f.annotation, *f.metadata] for name, f in model.model_fields.items()}


def families_in(parts: list[Any]) -> set[str]:
    found = set()
    for part in parts:
        if isinstance(part, OneOf | MemberOf):
            found.add(part.family)
        elif isinstance(part, type) and issubclass(part, BaseModel):
            for below in fields_of(part).values():
                found |= families_in(below)
        else:
            found |= families_in([*get_args(part), *getattr(part, "__metadata__", ())])
    return found


QUICK = ("synthesize", "ingest", "split", "compare")


@pytest.mark.parametrize(
    "stage", [pytest.param(e.name, marks=[] if e.name in QUICK else pytest.mark.thorough) for e in read_stages(Path())]
)
def test_what_a_stage_imports_when_it_starts_is_in_its_deps(repo: Path, stage: str) -> None:
    """Against Python itself: the modules with code that the interpreter loads, besides those that every stage loads."""
    entry = next(entry for entry in read_stages(repo) if entry.name == stage)
    listed = set(entry.body["deps"])
    loaded = modules_after(repo, f"flows.{stage}")
    families = tuple(f"components.{choice.family}." for choice in CHOICES)
    for name, file in loaded - modules_after(repo, "flows.stage"):
        figure = not entry.shows_figures and ("figures" in name or name.endswith(".figure"))
        if figure or name.startswith((*NO_EFFECT, *families)) or "settings" in name or not holds_code(repo / file):
            continue
        assert file in listed, name
    assert f"flows/{stage}.py" in {file for _, file in loaded}


@functools.cache  # each call starts a process, and every stage is compared with the same one
def modules_after(repo: Path, module: str) -> set[tuple[str, str]]:
    """Name and file of the repository's modules that are loaded once `module` is imported."""
    code = (
        f"import sys, json, {module}; print(json.dumps([[name, module.__file__] for name, module in "
        "sys.modules.items() if name.split('.')[0] in ('flows', 'components') and module.__file__]))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, check=True).stdout
    return {(name, Path(file).relative_to(repo).as_posix()) for name, file in json.loads(out.splitlines()[-1])}


def holds_code(path: Path) -> bool:
    return "import" in path.read_text() or "def " in path.read_text()


# --- on a small repository, whose graph is known


PARAMS_YAML = """backbone: {kind: one}
robustness: {corruptions: [blur]}
pretrain: {arms: {a: {kind: plain}}}
"""
FILES = {
    "flows/__init__.py": "",
    "flows/measure.py": "from components.a.used import f\nfrom typing import TYPE_CHECKING\n"
    "if TYPE_CHECKING:\n    from components.a.typing_only import T\n",
    "flows/show.py": "def show():\n    from components.a import page\n",
    "flows/settings/__init__.py": "x = 1\n",
    "components/__init__.py": "",
    "components/a/__init__.py": '"""Only a docstring."""\n',
    "components/a/used.py": "from components.a.deeper import g\nfrom components.a.figures import line\n"
    "from flows.settings import x\nfrom components.a.settings import y\n",
    "components/a/deeper.py": "import components.b.leaf\n",
    "components/a/settings.py": "y = 1\n",
    "components/a/typing_only.py": "",
    "components/a/unused.py": "",
    "components/a/figures/__init__.py": "INK = 1\n",
    "components/a/figures/line.py": "",
    "components/a/page.py": "from components.a.figures import line\nrender('a/page.html.j2')\n",
    "components/a/page.html.j2": '{% extends "a/frame.html.j2" %}{% import "a/macros.html.j2" as m %}',
    "components/a/frame.html.j2": '{% include "a/style.css" %}',
    "components/a/macros.html.j2": "",
    "components/a/style.css": "",
    "components/a/other.html.j2": "",
    "components/b/__init__.py": "from components.b import first\n",
    "components/b/first.py": "",
    "components/b/leaf.py": "",
    "components/models/backbones/one.py": "from components.a.deeper import g\n",
    "components/models/backbones/two.py": "from components.a.unused import h\n",
    "components/robustness/corruptions/blur.py": "",
    "components/robustness/corruptions/fog.py": "",
    "components/pretraining/plain/__init__.py": "",
    "components/pretraining/pixels/__init__.py": "from components.pretraining.pixels.architecture import Config\n",
    "components/pretraining/pixels/architecture.py": "from components.pretraining.pixels.matrix import multiply\n",
    "components/pretraining/pixels/matrix.py": "",
    "components/pretraining/pixels/fitting.py": "",
    "params.yaml": PARAMS_YAML,
    "dvc.yaml": """stages:
  measure:                        # a comment that stays
    cmd: python -m flows.measure
    deps:
      - data/in                   # data stay where they are
      - components/gone.py
    params: [measure]
    outs: [data/out]

  show:
    foreach: ${arms}
    do:
      cmd: python -m flows.show ${key}
      deps:
        - data/out
      params: [backbone, robustness]
      outs:
        - reports/page.html
""",
}
CHOSEN = {
    "backbone": {"kind": "one"},
    "robustness": {"corruptions": ["blur"]},
    "pretrain": {"arms": {"a": {"kind": "plain"}}},
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_imports_are_followed_and_typing_figures_and_settings_are_not(small: Path) -> None:
    measure, _ = read_stages(small)
    assert code_of(CodeGraph(small), measure, CHOSEN) == [
        "components/a/deeper.py", "components/a/used.py", "components/b/__init__.py", "components/b/first.py",
        "components/b/leaf.py", "flows/measure.py",
    ]  # fmt: skip


def test_a_page_depends_on_its_templates_figures_and_chosen_members(small: Path) -> None:
    _, show = read_stages(small)
    assert show.shows_figures
    assert code_of(CodeGraph(small), show, CHOSEN) == [
        "components/a/deeper.py", "components/a/figures/__init__.py", "components/a/figures/line.py",
        "components/a/frame.html.j2", "components/a/macros.html.j2", "components/a/page.html.j2",
        "components/a/page.py", "components/a/style.css", "components/a/unused.py", "components/b/__init__.py",
        "components/b/first.py", "components/b/leaf.py", "components/models/backbones/${backbone.kind}.py",
        "components/robustness/corruptions/blur.py", "flows/show.py",
    ]  # fmt: skip


def test_only_the_code_in_the_deps_is_rewritten(small: Path) -> None:
    assert write_graph(small)
    text = (small / "dvc.yaml").read_text()
    assert "  measure:                        # a comment that stays\n" in text
    assert "      - data/in                   # data stay where they are\n      - components/a/deeper.py\n" in text
    assert "        - data/out\n        - components/a/deeper.py\n" in text
    assert "components/gone.py" not in text
    assert not write_graph(small)
    kept = [line for line in FILES["dvc.yaml"].splitlines() if "gone" not in line]
    assert [line for line in text.splitlines() if "- components/" not in line and "- flows/" not in line] == kept


def test_a_member_that_dvc_yaml_does_not_list_is_refused(small: Path) -> None:
    write_graph(small)
    check_members(small)
    (small / "params.yaml").write_text(PARAMS_YAML.replace("[blur]", "[blur, fog]"))
    words = (
        r"robustness.corruptions \(params.yaml\) names 'fog', but dvc.yaml does not list "
        r"components/robustness/corruptions/fog.py in the deps of show: run `make graph`"
    )
    for stage in (None, "show"):
        with pytest.raises(SettingsError, match=words):
            check_members(small, stage)
    check_members(small, "measure")
    write_graph(small)
    check_members(small)


def test_a_stage_that_loads_weights_depends_on_the_architectures_of_the_arms(small: Path) -> None:
    _, show = read_stages(small)
    arms = {"a": {"kind": "plain"}, "b": {"kind": "pixels"}}
    before = code_of(CodeGraph(small), show, CHOSEN)
    after = code_of(CodeGraph(small), show, CHOSEN | {"pretrain": {"arms": arms}})
    folder = "components/pretraining/pixels"
    assert set(after) - set(before) == {f"{folder}/{name}.py" for name in ("__init__", "architecture", "matrix")}
    write_graph(small)
    (small / "params.yaml").write_text(PARAMS_YAML.replace("plain", "pixels"))
    with pytest.raises(
        SettingsError, match=r"pretrain.arms .*names 'pixels'.*pixels/architecture.py in the deps of sh"
    ):
        check_members(small)
    write_graph(small)
    check_members(small)


def test_the_backbone_of_a_teacher_is_listed_unless_it_is_that_of_the_study(repo: Path, params: dict[str, Any]) -> None:
    (stage,) = [entry for entry in read_stages(repo) if entry.name == "pretrain"]

    def code(teacher: str) -> set[str]:
        arms = {"a": {"kind": "distill", "teacher": {"backbone": {"kind": teacher}}}}
        return set(code_of(CodeGraph(repo), stage, {**params, "pretrain": {"arms": arms}}))

    own = params["backbone"]["kind"]
    (other,) = {"convnext_tiny", "timm"} - {own, "timm"}
    assert code(other) - code(own) == {f"components/models/backbones/{other}.py"}
    assert f"components/models/backbones/{own}.py" not in code(own)  # listed by its template


def test_a_folder_without_dvc_yaml_has_nothing_to_check(tmp_path: Path) -> None:
    check_members(tmp_path)


def test_a_stage_that_writes_no_page_shows_no_figure() -> None:
    assert not StageEntry("x", {"outs": ["a.csv", {"metrics/x.json": {"cache": False}}]}).shows_figures
    assert StageEntry("x", {"outs": ["a.csv", {"reports/x.html": {"cache": False}}]}).shows_figures
