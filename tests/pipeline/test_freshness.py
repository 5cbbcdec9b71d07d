"""`dvc status` on a recorded study: a change of code makes stale what that code makes, and nothing else.

DVC compares hashes, so the outputs may be anything: only the records of methods, which are remade here, are real ones.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.orchestration.freshness import read_stages
from tests.pipeline.conftest import REPO, Checkout

pytestmark = pytest.mark.slow
ADDITIONS = REPO / "tests" / "additions"


@pytest.fixture(scope="module")
def study(new_checkout: Callable[[], Checkout]) -> Checkout:
    """A study with the arms vae and imagenet as DVC has it when it is finished: every output is in dvc.lock."""
    checkout = new_checkout()
    checkout.use("study.arms=[vae,imagenet]")
    checkout.repro("method@vae", "method@imagenet")
    outputs = [Path(out.fs_path) for stage in Repo(str(checkout.folder)).index.stages for out in stage.outs]
    missing = [path for path in outputs if not path.exists()]
    assert len(missing) > 30
    for path in missing:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"made by the stage of {path.name}\n")
    assert stale(checkout)
    checkout.run("-m", "dvc", "commit", "--force")
    assert stale(checkout) == set()
    return checkout


def stale(checkout: Checkout) -> set[str]:
    """Stages that DVC would run again, by what changed in themselves."""
    with chdir(checkout.folder), Repo() as repo:  # in this process, as starting DVC takes longer than the status
        return set(repo.status())


class Change:
    """A change of one file that is taken back."""

    def __init__(self, checkout: Checkout, path: str, edit: Callable[[str], str]) -> None:
        self.file, self.edit = checkout.folder / path, edit

    def __enter__(self) -> None:
        self.before = self.file.read_bytes()
        text = self.before.decode()
        changed = self.edit(text)
        assert changed != text, self.file
        self.file.write_text(changed)

    def __exit__(self, *_: object) -> None:
        self.file.write_bytes(self.before)


def comment(text: str) -> str:
    return f"{text}\n# another line\n"


def reword(text: str) -> str:
    """Another wording of the first error message."""
    return re.sub(r'((?:raise \w+Error|Error)\(\s*f?")', r"\1Sorry, ", text, count=1)


def test_a_new_file_that_no_setting_names_makes_nothing_stale(study: Checkout) -> None:
    added = [path.relative_to(ADDITIONS) for path in ADDITIONS.rglob("*.py")]
    families = {path.parts[0] for path in added}
    assert families == {"comparison", "data", "models", "pretraining", "robustness", "statistics"}
    try:
        shutil.copytree(ADDITIONS, study.folder / "components", dirs_exist_ok=True)
        assert stale(study) == set()
    finally:
        for path in added:
            (study.folder / "components" / path).unlink()


def only_of(stage: str) -> str:
    """A module of components/ with an error message that is in the deps of one stage alone."""
    deps = {entry.name: set(entry.body["deps"]) for entry in read_stages(REPO)}
    others = set().union(*(found for name, found in deps.items() if name not in (stage, "fold")))  # it repeats stages
    own = sorted(path for path in deps[stage] - others if path.startswith("components/") and path.endswith(".py"))
    return next(path for path in own if reword((REPO / path).read_text()) != (REPO / path).read_text())


@pytest.mark.parametrize("stage", ["validate", "compare", "robustness"])
def test_a_message_of_one_stage_makes_that_stage_stale(study: Checkout, stage: str) -> None:
    with Change(study, only_of(stage), reword):
        assert stale(study) == {stage}


@pytest.mark.parametrize("path", ["components/base/errors.py", "components/base/config.py", "flows/stage.py"])
def test_what_messages_and_settings_are_made_with_makes_nothing_stale(study: Checkout, path: str) -> None:
    with Change(study, path, comment):
        assert stale(study) == set()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("components/robustness/page.html.j2", {"robustness"}),
        ("components/robustness/figure.py", {"robustness"}),
        ("components/comparison/page.html.j2", {"compare"}),
        ("components/comparison/figures/learning_curves.py", {"compare"}),
        ("components/clinical/figures/reliability.py", {"compare"}),
        ("components/cards/model_card.md.j2", {"cards"}),
        ("components/training/figures/augmentation.py", set()),
    ],
)
def test_a_template_or_figure_makes_the_stage_stale_that_draws_it(
    study: Checkout, path: str, expected: set[str]
) -> None:
    with Change(study, path, comment):
        assert stale(study) == expected


def test_a_pretraining_method_makes_its_own_arm_stale(study: Checkout) -> None:
    """By the record of the method, on which every draw of the arm's pretraining depends."""
    with Change(study, "components/pretraining/vae/model.py", comment):
        assert stale(study) == {"method@vae"}
        study.repro("method@vae")
        assert stale(study) == {"pretrain@vae-0"}
    study.repro("method@vae")
    assert stale(study) == set()


def test_the_training_loop_makes_stale_what_trains(study: Checkout) -> None:
    with Change(study, "components/training/loop.py", comment):
        found = stale(study)
    assert {"pretrain@vae-0", "finetune@vae-frozen-0", "finetune@imagenet-frozen-0"} <= found
    assert found <= {f"pretrain@{arm}-0" for arm in ("vae", "imagenet")} | {
        f"finetune@{arm}-frozen-0" for arm in ("vae", "imagenet")
    }


def test_one_corruption_makes_robustness_stale_if_it_is_named(study: Checkout) -> None:
    with Change(study, "components/robustness/corruptions/blur.py", comment):
        assert stale(study) == {"robustness"}


def test_the_other_backbones_and_adapters_make_nothing_stale(study: Checkout) -> None:
    for path in ("components/models/backbones/timm.py", "components/data/adapters/ham10000.py"):
        with Change(study, path, comment):
            assert stale(study) == set(), path


def test_dvc_yaml_is_as_the_repository_has_it_for_scalar_choices(study: Checkout) -> None:
    """Another backbone or adapter changes params.yaml alone: dvc.yaml holds a template for it."""
    own, ours = ({each.name: each.content for each in read_stages(root)} for root in (study.folder, REPO))
    changed = own.pop("fold"), ours.pop("fold")
    assert own == ours
    differing = set(changed[0]["deps"]) ^ set(changed[1]["deps"])  # the arms' methods, which it lists by name
    assert all(dep.startswith("components/pretraining/") for dep in differing)
    assert Path(study.folder / "params.yaml").read_text() != (REPO / "params.yaml").read_text()
