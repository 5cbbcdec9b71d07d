"""Folds of a cross-validation: what dvc.yaml says of them, their clones, and the short command."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from components.base.errors import RunError, SettingsError
from flows.commands.crossvalidate import crossvalidate
from flows.cross_validation.workspace import (
    FOLDS,
    MADE_OF,
    fold_params,
    fold_root,
    prepare_fold,
    remove_other_folds,
)
from flows.orchestration.freshness import check_members, read_params, with_code
from flows.orchestration.graph import read_graph, upstream_of
from flows.orchestration.repeated_study import REPEATED, TARGET
from flows.presets import edit
from flows.settings import load_settings, parse_settings
from flows.tracking.git import run_git
from tests.unit.flows.test_dvc_graph import stages_of, upstream
from tests.unit.flows.toy_repository import DATA, change, command, commit

# DVC 3.67 uses pygtrie in a way that pygtrie has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")


@pytest.fixture
def text(repo: Path) -> str:
    return (repo / "params.yaml").read_text()


@pytest.fixture(scope="module")
def files_with_folds(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """params.yaml with three folds, and dvc.yaml as `make graph` writes it for them."""
    from dvc.repo import Repo

    folder = tmp_path_factory.mktemp("folds")
    values = read_params(repo)
    values["cross_validation"]["folds"] = 3
    with (folder / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(values, file)
    (folder / "dvc.yaml").write_text(with_code((repo / "dvc.yaml").read_text(), repo, values))
    Repo.init(str(folder), no_scm=True).close()
    return folder


@pytest.fixture
def with_folds(files_with_folds: Path, tmp_path: Path) -> Path:
    """A copy of it, for one test to change."""
    return Path(shutil.copytree(files_with_folds, tmp_path, dirs_exist_ok=True))


# --- dvc.yaml


def test_a_fold_runs_the_stages_upstream_of_the_comparison(repo: Path) -> None:
    assert upstream(stages_of(repo), TARGET) | {"synthesize"} == set(
        REPEATED
    )  # it makes dataset.path where it is needed


def test_a_fold_depends_on_all_code_and_settings_of_these_stages_but_not_on_which_fold_it_is(repo: Path) -> None:
    stages = stages_of(repo)
    kinds = {arm["kind"] for arm in read_params(repo)["pretrain"]["arms"].values()}
    listed = {dep for name in REPEATED for dep in stages[name]["deps"] if dep.startswith(("flows/", "components/"))}
    method = "components/pretraining/${item.kind}"
    assert method in listed and len(listed) > 150
    wanted = (listed - {method}) | {f"components/pretraining/{kind}" for kind in kinds}
    assert set(stages["fold"]["deps"]) - wanted == {"${paths.accepted}", "flows/fold.py"}
    assert wanted <= set(stages["fold"]["deps"])
    used = {key.split(".")[0] for name in REPEATED for key in stages[name]["params"]}
    own = set(stages["fold"]["params"])
    assert {key.split(".")[0] for key in own} == used | {"cross_validation"}
    assert {key for key in own if "." in key} == {"split.group_by", "split.seed"}  # shares have no effect with folds


def test_without_folds_there_is_no_stage_and_with_three_there_are_four(repo: Path, with_folds: Path) -> None:
    def of_folds(root: Path) -> dict[str, set[str]]:
        return {node.address: set(node.upstream) for node in read_graph(root) if "fold" in node.kind}

    assert of_folds(repo) == {}
    folds = {f"fold@{number}" for number in range(3)}
    assert of_folds(with_folds) == {fold: {"validate"} for fold in folds} | {
        "pool_folds@3": folds | {"validate", "ingest"}
    }
    nodes = read_graph(with_folds)
    (pool,) = [node for node in nodes if node.kind == "pool_folds"]
    assert set(upstream_of(nodes, pool)) == folds | {"pool_folds@3", "synthesize", "ingest", "validate"}


def test_the_number_of_folds_changes_two_lines_of_dvc_yaml(repo: Path, with_folds: Path) -> None:
    before, after = ((root / "dvc.yaml").read_text().splitlines() for root in (repo, with_folds))
    assert len(before) == len(after)
    apart = [(old.strip(), new.strip()) for old, new in zip(before, after, strict=True) if old != new]
    assert apart == [("fold: []", "fold: [0, 1, 2]"), ("folds: []", "folds: [3]")]


@pytest.mark.parametrize("stage", [None, "fold", "pool_folds"])
def test_another_number_of_folds_than_in_dvc_yaml_is_refused(with_folds: Path, stage: str | None) -> None:
    check_members(with_folds, stage)
    params = with_folds / "params.yaml"
    params.write_text(params.read_text().replace("folds: 3", "folds: 4"))
    words = r"cross_validation.folds is 4 \(params.yaml\), but dvc.yaml has the items \[.*\] of .*: run `make graph`"
    with pytest.raises(SettingsError, match=words):
        check_members(with_folds, stage)


@pytest.mark.parametrize(
    ("section", "value", "words"),
    [
        ("evaluate", {"metrics": ["macro_f1"]}, "names 'macro_f1'.*metrics/macro_f1.py in the deps of fold:"),
        ("pretrain", {"arms": {"a": {"kind": "simclr"}}}, "names 'simclr'.*pretraining/simclr in the deps of fold:"),
    ],
)
def test_a_member_that_a_fold_does_not_list_is_refused(
    with_folds: Path, section: str, value: dict[str, Any], words: str
) -> None:
    values = read_params(with_folds) | {section: value}
    with (with_folds / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(values, file)
    with pytest.raises(SettingsError, match=words):
        check_members(with_folds, "fold")


def test_a_study_that_is_one_of_other_folds_is_refused(text: str) -> None:
    values = YAML(typ="safe").load(text)
    values["split"]["folds"] = values["cross_validation"]["folds"] = 4
    assert parse_settings(values, "test").cross_validation.folds == 4
    values["cross_validation"]["folds"] = 5
    with pytest.raises(SettingsError, match=r"cross_validation.folds is 5 and split.folds is 4"):
        parse_settings(values, "test")


# --- clones


def test_a_fold_differs_from_the_study_in_its_number_alone(text: str) -> None:
    then, now = (YAML(typ="safe").load(each) for each in (text, fold_params(text, 4, 2)))
    assert (now["split"].pop("folds"), now["split"].pop("fold")) == (4, 2)
    assert now["cross_validation"] == {"folds": None}
    for values in (then, now):
        values.pop("cross_validation")
    del then["split"]["folds"], then["split"]["fold"]
    assert now == then


def test_folds_beyond_the_number_are_removed(tmp_path: Path) -> None:
    for fold in range(5):
        fold_root(tmp_path, fold).mkdir(parents=True)
    remove_other_folds(tmp_path, 3)
    assert sorted(path.name for path in (tmp_path / FOLDS).iterdir()) == ["0", "1", "2"]


@pytest.fixture
def toy_study(toy_checkout: Path) -> Iterator[Path]:
    """The toy repository, whose first stage is now the last one that depends on no fold; other tests get the former."""
    former = command(toy_checkout, "git", "rev-parse", "HEAD").strip()
    change("dvc.yaml", "  measure:\n", "  validate:\n")
    change("dvc.yaml", ", split.seed]", "]")
    change("dvc.yaml", "/measure.json", "/validate.json")
    change("flows/measure.py", "metrics/measure.json", "metrics/validate.json")
    commit(toy_checkout)
    yield toy_checkout
    command(toy_checkout, "git", "reset", "-q", "--hard", former)
    shutil.rmtree(toy_checkout / FOLDS)


def test_a_clone_follows_code_and_commit_and_keeps_its_results(toy_study: Path) -> None:
    root = prepare_fold(toy_study, load_settings(), 3, 1).root
    assert load_settings(root / "params.yaml").split.fold == 1
    assert (root / DATA / "a.txt").read_text() == "xxx"
    results = {"dvc.lock": "schema: '2.0'\nstages: {}\n", "metrics/measure.json": "{}", "data/checkpoints/state": "5"}
    for name, content in results.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    change("flows/measure.py", "import json", "import json  # changed")
    Path("flows/added.py").write_text("")
    prepare_fold(toy_study, load_settings(), 3, 1)
    assert "# changed" in (root / "flows/measure.py").read_text() and (root / "flows/added.py").exists()
    Path("flows/added.py").unlink()
    Path("flows/average.py").unlink()
    commit(toy_study)
    prepare_fold(toy_study, load_settings(), 3, 1)
    assert not (root / "flows/added.py").exists() and not (root / "flows/average.py").exists()
    assert run_git("rev-parse", "HEAD", folder=root) == run_git("rev-parse", "HEAD")
    assert run_git("status", "--porcelain", "--", "flows", folder=root) == b""
    assert {name: (root / name).read_text() for name in results} == results
    (root / MADE_OF).unlink()  # as after a clone that was interrupted
    prepare_fold(toy_study, load_settings(), 3, 1)
    assert not (root / "data/checkpoints/state").exists()


def test_a_clone_gets_what_the_checkout_recorded_of_stages_that_depend_on_no_fold(toy_study: Path) -> None:
    command(toy_study, "python", "-m", "dvc", "repro", "-q", "validate")
    root = prepare_fold(toy_study, load_settings(), 3, 0).root
    assert (root / "data/lengths.csv").read_text() == Path("data/lengths.csv").read_text()
    assert (root / "metrics/validate.json").read_text() == Path("metrics/validate.json").read_text()
    assert command(root, "python", "-m", "dvc", "status", "validate").strip() == "Data and pipelines are up to date."


# --- the command


@pytest.fixture
def fold_alone(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with the stage `fold` alone, as the current folder."""
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "fold.py").write_text("")
    (tmp_path / "dvc.yaml").write_text("stages:\n  fold:\n    matrix:\n      fold: []\n    deps:\n")
    (tmp_path / "params.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_two_folds_are_refused(fold_alone: Path) -> None:
    with pytest.raises(RunError, match="--folds is 2, expected 3 or more"):
        crossvalidate(2, lambda target: pytest.fail(target))


@pytest.mark.parametrize(
    ("given", "setting", "expected"), [(None, "", 5), (4, "", 4), (None, "split.folds=3", 3), (3, "split.folds=3", 3)]
)
def test_the_command_sets_the_folds_and_runs_up_to_their_pooling(
    fold_alone: Path, given: int | None, setting: str, expected: int
) -> None:
    params, targets = fold_alone / "params.yaml", []
    params.write_text(edit(params.read_text(), setting) if setting else params.read_text())

    def run(target: str) -> int:
        targets.append(target)
        return 3

    assert crossvalidate(given, run) == 3
    assert targets == [f"pool_folds@{expected}"]
    assert load_settings().cross_validation.folds == expected
    assert f"      fold: {list(range(expected))}\n" in (fold_alone / "dvc.yaml").read_text()
