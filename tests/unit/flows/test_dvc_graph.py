"""The graph of dvc.yaml: nothing that learns or chooses depends on test images, and pages stay out of git."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from ruamel.yaml import YAML

from flows.orchestration.freshness import read_stages


def stages_of(repo: Path) -> dict:
    return {entry.name: dict(entry.body) for entry in read_stages(repo)}


def upstream(stages: dict, name: str) -> set[str]:
    """A stage and all whose outs it is made of, as dvc.yaml writes them; a folder is made of what stands in it."""
    outs = {
        out if isinstance(out, str) else next(iter(out)): other
        for other, entry in stages.items()
        for kind in ("outs", "metrics", "plots")
        for out in entry.get(kind, ())
    }
    outs = {re.sub(r"\$\{(key|item\.arm)\}", "${arm}", out): other for out, other in outs.items()}
    found, waiting = set(), [name]
    while waiting:
        found.add(current := waiting.pop())
        for dep in stages[current]["deps"]:
            dep = re.sub(r"\$\{(key|item\.arm)\}", "${arm}", dep)  # a foreach and a matrix name the arm otherwise
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
    assert openers == {"evaluate", "explain", "label_efficiency", "robustness"}
    makers = upstream(stages, "finetune") | upstream(stages, "finetune_subset") - {"finetune_subset"}
    assert {"pack", "pretrain", "finetune"} <= makers
    assert not makers & openers
    for name in openers:
        assert upstream(stages, name) >= makers  # they stand behind the classifiers
    # the rest reads predictions; nothing behind pack sees the images themselves
    sources = [name for name, entry in stages.items() if "${dataset.path}" in entry["deps"]]
    assert sources == ["ingest_external", "ingest", "validate", "admit", "pack"]


def test_nothing_but_a_page_depends_on_what_was_seen_behind_single_answers(repo: Path) -> None:
    stages = stages_of(repo)
    made = {
        next(iter(out)) if isinstance(out, dict) else out
        for seen in ("explain", "probe", "robustness")
        for kind in ("outs", "metrics")
        for out in stages[seen][kind]
    }
    assert {"${paths.metrics}/explain.json", "${paths.reports}/robustness.html"} <= made
    assert len(made) == 9
    pages = {"paper", "index"}  # the last ones, of which no stage is made
    for name, entry in stages.items():
        assert not pages & (upstream(stages, name) - {name}), name
        assert name in pages or not made & set(entry["deps"]), name
        assert not {"${paths.reports}", "${paths.metrics}"} & set(entry["deps"]), name


def test_git_ignores_every_page_that_dvc_keeps(repo: Path) -> None:
    """Pages can show pictures of patients: they go to DVC's remote, and never into a commit."""
    outs = [out for entry in stages_of(repo).values() for out in entry["outs"] if isinstance(out, str)]
    folder = YAML(typ="safe").load((repo / "params.yaml").read_text())["paths"]["reports"]
    pages = [out.replace("${paths.reports}", folder) for out in outs if out.startswith("${paths.reports}")]
    pages = [re.sub(r"\$\{item[^}]*\}", "any", page) for page in pages]
    assert {f"{folder}/{name}.html" for name in ("explanations", "robustness", "paper", "external/any")} <= set(pages)
    command = ["git", "check-ignore", "--no-index", *pages]
    ignored = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False).stdout.split()
    assert not set(pages) - set(ignored)


def test_a_choice_by_test_images_would_be_seen(repo: Path) -> None:
    """The guard itself: one more dep of finetune, on the images or on what was measured on them, breaks it."""
    for dep in (TEST_PIXELS, "${paths.pixels}", "${paths.predictions}"):
        stages = stages_of(repo)
        stages["finetune"]["deps"].append(dep)
        assert upstream(stages, "finetune") & openers_of(stages)
