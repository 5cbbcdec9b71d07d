"""The files that a published project has, against pyproject.toml and `make check`."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML


def project(repo: Path) -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((repo / "pyproject.toml").read_text())
    return content["project"]


def read(file: Path) -> Any:
    return YAML(typ="safe").load(file.read_text())


def test_licence_and_version_are_stated_once(repo: Path) -> None:
    citation = read(repo / "CITATION.cff")
    assert (citation["license"], citation["version"]) == (project(repo)["license"], project(repo)["version"])
    assert "Apache License" in (repo / "LICENSE").read_text().splitlines()[0]
    assert f"## {project(repo)['version']}" in (repo / "CHANGELOG.md").read_text()


def test_pre_commit_runs_what_make_check_runs(repo: Path) -> None:
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (repo / "Makefile").read_text(), re.M)
    assert recipe is not None
    wanted = {line.strip().replace("$(BIN)", ".venv/bin").removesuffix(" .") for line in recipe.group(1).splitlines()}
    (local,) = read(repo / ".pre-commit-config.yaml")["repos"]
    assert local["repo"] == "local"  # nothing is downloaded
    assert wanted <= {hook["entry"] for hook in local["hooks"]}
    assert all(shlex.split(hook["entry"])[0].startswith(".venv/bin/") for hook in local["hooks"])


def test_the_packages_state_that_they_are_typed(repo: Path) -> None:
    assert (repo / "flows" / "py.typed").is_file()
    assert (repo / "components" / "py.typed").is_file()
