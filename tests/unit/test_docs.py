"""README.md and docs/*.md against the repository: what they name exists, and their examples work."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

from components.base.families import load_member, members
from components.data.read_report import ReadReport
from components.data.records import failures
from flows.commands.cli import app
from flows.presets import render
from flows.settings.data import Cohort
from tests.conftest import REPO
from tests.unit.data.example_data import paint, write

DOCS = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md"))]

LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]+)?\)")
CODE = re.compile(r"```.*?```|`[^`]+`", re.S)
FENCE = re.compile(r"```(\w+)\n(.*?)```", re.S)
PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*(?:/|/[\w.-]+\.(?:py|yaml|toml|j2|md))")

WRITTEN_BY_RUNS = ("data/", "reports/", "metrics/", "mlruns/", "curves/")
PLACES = (REPO, REPO / "components", REPO / "flows", REPO / "tests" / "additions")
"""A path is relative to one of these; the last holds the files that the tests add to a checkout."""
OF_THE_READER = {
    "presets/mine.yaml", "presets/skin_images.yaml", "components/data/adapters/clinic.py",  # that the reader writes
    "images/", "unlabelled/", "path/", "origin/", "ISIC_2024_Training_Input/",  # of a data set, or of a run's artifacts
}  # fmt: skip


def text(path: Path) -> str:
    return path.read_text("utf-8")


def code(path: Path) -> Iterator[str]:
    """Inline code and code blocks of a document."""
    yield from (found.strip("`") for found in CODE.findall(text(path)))


def search(pattern: str) -> set[tuple[str, ...]]:
    """Every match of a pattern in the code of all documents: name of the document, then the groups."""
    matches = ((doc.name, match) for doc in DOCS for each in code(doc) for match in re.finditer(pattern, each, re.M))
    return {(name, *(group or "" for group in match.groups())) for name, match in matches}


def anchors(path: Path) -> set[str]:
    """Of the headings of a document, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", text(path), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def paths(path: Path) -> set[str]:
    """Paths in the code of a document: with a slash and an extension of ours, or with a slash at the end."""
    words = {word.rstrip(".,:;)") for each in code(path) for word in each.split()}
    return {
        word
        for word in words
        if PATH.fullmatch(word) and not word.startswith(WRITTEN_BY_RUNS) and not re.search(r"\b[A-Z]{3,}\b|^\.", word)
    }


def blocks(name: str, language: str) -> list[str]:
    """Code blocks of one language in a document of docs/."""
    return [body for kind, body in FENCE.findall(text(REPO / "docs" / name)) if kind == language]


@pytest.mark.parametrize("doc", DOCS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file_and_a_heading(doc: Path):
    for target, anchor in LINK.findall(text(doc)):
        file = doc.parent / target if target else doc
        assert file.exists(), f"{doc.name} links to {target}"
        assert not anchor or anchor[1:] in anchors(file), f"{doc.name} links to {target}{anchor}"


@pytest.mark.parametrize("doc", DOCS, ids=lambda path: path.name)
def test_every_path_exists(doc: Path):
    for path in paths(doc) - OF_THE_READER:
        tried = [place / path for place in PLACES] + [PLACES[-1] / path.removeprefix("components/")]
        assert any(each.exists() for each in tried), f"{doc.name} names {path}"


def test_links_and_paths_are_found():
    assert len(DOCS) >= 7
    assert len(LINK.findall(text(REPO / "README.md"))) >= 10
    assert sum(len(paths(doc)) for doc in DOCS) >= 20
    assert "components/comparison/verdict.py" in paths(REPO / "README.md")


def test_every_dermflow_command_exists():
    root = typer.main.get_command(app)
    found = search(r"\bdermflow ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")
    assert {command for _, command, _ in found} >= {"use", "run", "report", "reproduce"}
    for doc, command, word in found:
        assert command in root.commands, f"{doc}: dermflow {command}"
        below = getattr(root.commands[command], "commands", None)
        assert below is None or word in below, f"{doc}: dermflow {command} {word}"


def test_every_benchmark_and_module_exists():
    named = search(r"python -m (benchmarks|flows)[. ](\w+(?:\.\w+)*)")
    assert {package for _, package, _ in named} == {"benchmarks", "flows"}
    for doc, package, module in named:
        assert (REPO / package / f"{module.replace('.', '/')}.py").is_file(), f"{doc}: python -m {package} {module}"


def test_every_make_target_exists():
    found = search(r"\bmake ([a-z]+)")
    assert len(found) >= 5
    targets = set(re.findall(r"^([a-z]+):", (REPO / "Makefile").read_text(), re.M))
    assert {target for _, target in found} <= targets


def test_every_stage_exists():
    found = search(r"\b(?:dvc repro|dvc commit|dvc repro -f|dvc commit -f) ([a-z_]+)\b")
    assert len(found) >= 3
    stages = set(YAML(typ="safe").load((REPO / "dvc.yaml").read_text())["stages"])
    assert {stage for _, stage in found} <= stages


def test_every_setting_exists():
    """Such as `compare.resamples`; keys below a `kind` are those of any file of its family."""
    params: dict[str, Any] = YAML(typ="safe").load((REPO / "params.yaml").read_text())
    known = set(_keys(params)) | {f"external.{name}" for name in Cohort.model_fields}
    for section, family in (("dataset", "data.adapters"), ("backbone", "models.backbones")):
        configs = [load_member(family, name).Config for name in members(family)]
        known |= {f"{section}.{name}" for config in configs for name in config.model_fields}
    known |= {f"dataset.columns.{name}" for name in ("image_id", "path")}
    found = search(rf"^((?:{'|'.join(params)})\.[a-z_]+(?:\.[a-z_]+)*)(?:$|=|:)")
    assert len(found) >= 30
    wrong = {each for each in found if each[1] not in known and not each[1].endswith((".html", ".json", ".py"))}
    assert not wrong


def _keys(values: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{above}{key}"
        if isinstance(value, dict):
            yield from _keys(value, f"{above}{key}.")


def test_every_measured_name_is_in_the_results_of_the_benchmarks():
    names = re.findall(r"^\| `(\w+)` \|", text(REPO / "docs" / "performance.md"), re.M)
    assert len(names) >= 15
    assert set(names) <= {each["name"] for each in json.loads((REPO / "benchmarks" / "results.json").read_text())}


@pytest.mark.parametrize("block", range(3))
def test_the_settings_of_your_data_are_valid(block: int, tmp_path: Path, monkeypatch):
    found = blocks("your-data.md", "yaml")
    assert len(found) == 3
    shutil.copytree(REPO / "presets", tmp_path / "presets")
    (tmp_path / "presets" / "mine.yaml").write_text(found[block], "utf-8")
    monkeypatch.chdir(tmp_path)
    assert render("mine", ["privacy.key=secret"])


def test_the_adapter_of_your_data_reads_its_example(tmp_path: Path):
    (source,) = blocks("your-data.md", "python")
    module = _load(write(tmp_path, "clinic.py", source) / "clinic.py")
    paint(tmp_path, *module.EXAMPLE.images)
    for path, content in module.EXAMPLE.texts.items():
        write(tmp_path, path, content)
    table = module.Config(path=tmp_path).read(ReadReport())
    assert failures(table).empty
    assert table["diagnosis"].tolist() == ["nv", "mel"]
    assert module.Config.published is False


def _load(file: Path) -> ModuleType:
    spec = spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
