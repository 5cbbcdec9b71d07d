"""dvc.yaml lists what a stage's code is made of, and nothing that learns or chooses stands behind test images."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

# Code whose change makes no result stale: messages, the terminal's voice, how settings are checked (their values
# are params), how, where and with what memory a stage is run. And pictures, but where they are an output.
NOT_FRESHNESS = {
    "components.base.errors", "components.base.log", "components.base.config",
    "components.validation.executors", "components.validation.scan_cache",
    "flows.tracking.lineage", "flows.settings", "flows.stage",
}  # fmt: skip
INCLUDED = re.compile(r"""(?:include|extends|import) ["']([^"']+)""")
FAMILIES = {"dataset": "datasets", "backbone": "backbones", "pretrain": "pretraining"}


def stages_of(repo: Path) -> dict:
    return YAML(typ="safe").load((repo / "dvc.yaml").read_text())["stages"]


SHOW_FIGURES = {"compare", "validate", "transfer", "efficiency", "explain", "robustness"}


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
        if "pkgutil.iter_modules(__path__)" in path.read_text():  # a family that finds its own files
            waiting += path.parent.glob("*.py")
        for module in imports_of(path) - NOT_FRESHNESS:
            if module.startswith("components.report.figures") and stage not in SHOW_FIGURES:
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
    "compare", "transfer", "cards", "learn", "efficiency", "robustness",
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


def upstream(stages: dict, name: str) -> set[str]:
    """A stage and all whose outs it is made of, as dvc.yaml writes them; a folder is made of what stands in it."""
    outs = {
        out if isinstance(out, str) else next(iter(out)): other
        for other, entry in stages.items()
        for kind in ("outs", "metrics", "plots")
        for out in entry.get(kind, ())
    }
    found, waiting = set(), [name]
    while waiting:
        found.add(current := waiting.pop())
        for dep in stages[current]["deps"]:
            makers = {other for out, other in outs.items() if out == dep or out.startswith(f"{dep}/")}
            waiting += sorted(makers - found)
    return found


TEST_PIXELS = "${paths.pixels}/test"


def openers_of(stages: dict) -> set[str]:
    """Stages that depend on the packed test images, or on a folder that holds them."""
    return {
        name
        for name, entry in stages.items()
        if any(dep == TEST_PIXELS or TEST_PIXELS.startswith(f"{dep}/") for dep in entry["deps"])
    }


def test_nothing_that_a_classifier_is_made_of_opens_test_images(repo: Path) -> None:
    """What learns or chooses never depends on them; stages behind the choice do."""
    stages = stages_of(repo)
    openers = openers_of(stages)
    assert openers == {"evaluate", "explain", "efficiency", "robustness"}
    makers = upstream(stages, "finetune") | upstream(stages, "learn") - {"learn"}
    assert {"pack", "pretrain", "finetune"} <= makers
    assert not makers & openers
    for name in openers:
        assert upstream(stages, name) >= makers  # they stand behind the classifiers
    # the rest reads predictions; nothing behind pack sees the images themselves
    sources = [name for name, entry in stages.items() if "${dataset.path}" in entry["deps"]]
    assert sources == ["ingest", "validate", "admit", "pack"]


def test_nothing_depends_on_what_was_seen_behind_single_answers(repo: Path) -> None:
    stages = stages_of(repo)
    made = {
        next(iter(out)) if isinstance(out, dict) else out
        for seen in ("explain", "robustness")
        for kind in ("outs", "metrics")
        for out in stages[seen][kind]
    }
    assert {"${paths.metrics}/explain.json", "${paths.reports}/robustness.html"} <= made
    assert len(made) == 6
    for name, entry in stages.items():
        assert not made & set(entry["deps"]), name
        assert not {"${paths.reports}", "${paths.metrics}"} & set(entry["deps"]), name


def test_git_ignores_every_page_that_dvc_keeps(repo: Path) -> None:
    """Pages can show pictures of patients: they go to DVC's remote, and never into a commit."""
    outs = [out for entry in stages_of(repo).values() for out in entry["outs"] if isinstance(out, str)]
    folder = YAML(typ="safe").load((repo / "params.yaml").read_text())["paths"]["reports"]
    pages = [out.replace("${paths.reports}", folder) for out in outs if out.startswith("${paths.reports}")]
    pages = [re.sub(r"\$\{item[^}]*\}", "any", page) for page in pages]
    assert {f"{folder}/explanations.html", f"{folder}/robustness.html", f"{folder}/external/any.html"} <= set(pages)
    command = ["git", "check-ignore", "--no-index", *pages]
    ignored = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False).stdout.split()
    assert not set(pages) - set(ignored)


def test_a_choice_by_test_images_would_be_seen(repo: Path) -> None:
    """The guard itself: one more dep of finetune, on the images or on what was measured on them, breaks it."""
    for dep in (TEST_PIXELS, "${paths.pixels}", "${paths.predictions}"):
        stages = stages_of(repo)
        stages["finetune"]["deps"].append(dep)
        assert upstream(stages, "finetune") & openers_of(stages)
