"""dvc.yaml lists what a stage's code is made of, and opens test images in one place alone."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

# Code whose change makes no result stale: messages, the terminal's voice, how settings are checked (their values
# are params), how, where and with what memory a stage is run. And pictures, but where they are an output.
NOT_FRESHNESS = {
    "components.errors", "components.log", "components.config", "components.executors", "components.scan_cache",
    "flows.lineage", "flows.settings", "flows.stage",
}  # fmt: skip
INCLUDED = re.compile(r"""(?:include|extends|import) ["']([^"']+)""")
FAMILIES = {"dataset": "datasets", "backbone": "backbones", "pretrain": "pretraining"}


def stages_of(repo: Path) -> dict:
    return YAML(typ="safe").load((repo / "dvc.yaml").read_text())["stages"]


SHOW_FIGURES = {"compare", "validate", "transfer", "efficiency", "explain"}


def imports_of(path: Path) -> set[str]:
    """Modules of this repository that a file imports, anywhere in it but for typing alone."""
    tree = ast.parse(path.read_text())
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("flows", "components")}


def file_of(repo: Path, module: str) -> Path | None:
    base = repo / Path(*module.split("."))
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def closed(paths: set[Path]) -> set[Path]:
    """With what templates among them include."""
    named = {name for path in paths if path.suffix == ".j2" for name in INCLUDED.findall(path.read_text())}
    return paths | {path.parent / name for path in paths for name in named}


def code_of(repo: Path, stage: str, sections: set[str]) -> set[str]:
    """The files that a stage's result is made by."""
    waiting = [repo / "flows" / f"{stage}.py"]
    for section in sections & set(FAMILIES):
        waiting += (repo / "components" / FAMILIES[section]).glob("*.py")
    code: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in code or path.suffix != ".py":
            continue
        code |= closed({path, *path.parent.glob(f"{path.stem}.*")})  # a template stands beside its module
        for module in imports_of(path) - NOT_FRESHNESS:
            if module.startswith("components.figures") and stage not in SHOW_FIGURES:
                continue
            found = file_of(repo, module)
            if found is not None:
                waiting.append(found)
    roots = {repo / "flows" / "__init__.py", repo / "components" / "__init__.py"}
    return {path.relative_to(repo).as_posix() for path in code - roots if path.suffix != ".toml"}


def listed(deps: list[str], path: str) -> bool:
    return any(path == dep or path.startswith(f"{dep}/") for dep in deps)


STAGES = {
    "synthesize", "ingest", "validate", "split", "admit", "pack", "pretrain", "finetune", "evaluate", "explain",
    "compare", "transfer", "cards", "learn", "efficiency",
}  # fmt: skip


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_depends_on_the_code_that_makes_its_result(repo: Path, stage: str) -> None:
    entry = stages_of(repo)[stage]
    sections = {key.split(".")[0] for key in entry["params"]}
    code = code_of(repo, stage, sections)
    missing = sorted(path for path in code if not listed(entry["deps"], path))
    assert not missing, f"dvc.yaml: deps of {stage} lack {missing}"
    own = [dep for dep in entry["deps"] if dep.startswith(("flows", "components"))]
    needless = [dep for dep in own if not any(listed([dep], path) for path in code)]
    assert not needless, f"dvc.yaml: deps of {stage} need no {needless}"


def test_every_stage_is_checked_above(repo: Path) -> None:
    assert set(stages_of(repo)) == STAGES


def test_only_evaluate_opens_test_images_and_explain_once_it_has_answered(repo: Path) -> None:
    stages = stages_of(repo)
    openers = [name for name, entry in stages.items() if any(dep.endswith("/test") for dep in entry["deps"])]
    assert openers == ["evaluate", "explain", "efficiency"]
    assert "${paths.predictions}" in stages["explain"]["deps"]
    # compare reads predictions; nothing behind pack sees the images themselves
    sources = [name for name, entry in stages.items() if "${dataset.path}" in entry["deps"]]
    assert sources == ["ingest", "validate", "admit", "pack"]


def test_nothing_depends_on_what_was_seen_behind_single_answers(repo: Path) -> None:
    stages = stages_of(repo)
    made = [next(iter(out)) if isinstance(out, dict) else out for out in stages["explain"]["outs"]]
    assert len(made) == 2
    for name, entry in stages.items():
        assert not set(made) & set(entry["deps"]), name
        assert not {"${paths.reports}", "${paths.metrics}"} & set(entry["deps"]), name
