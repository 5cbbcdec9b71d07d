"""Folds of `dermflow crossvalidate`: their settings, and what is refused before they are pooled."""

from __future__ import annotations

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from components.base.errors import RunError
from flows.cross_validation.pool import check_checkouts, check_same_code_and_data
from flows.cross_validation.run import run_folds
from flows.cross_validation.workspace import fold_params, fold_root, present_folds, remove_other_folds
from flows.presets import edit
from flows.settings import parse_settings


@pytest.fixture
def text(repo: Path) -> str:
    return (repo / "params.yaml").read_text()


def _settings(text: str) -> object:
    return parse_settings(YAML(typ="safe").load(text), "test")


def _write(root: Path, fold: int, text: str) -> None:
    folder = fold_root(root, fold)
    folder.mkdir(parents=True)
    (folder / "params.yaml").write_text(text)


def test_a_fold_differs_from_the_study_in_its_number_alone(text: str) -> None:
    then, now = (YAML(typ="safe").load(each) for each in (text, fold_params(text, 4, 2)))
    assert (now["split"].pop("folds"), now["split"].pop("fold")) == (4, 2)
    del then["split"]["folds"], then["split"]["fold"]
    assert now == then


def test_two_folds_are_refused(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo)
    with pytest.raises(RunError, match="--folds is 2, expected 3 or more"):
        run_folds(2)


def test_no_fold_and_a_missing_fold_are_named(text: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"fold 0 is missing in .*folds; dermflow crossvalidate run makes it"):
        check_checkouts(_settings(text), tmp_path)
    for fold in (0, 2):
        _write(tmp_path, fold, fold_params(text, 3, fold))
    with pytest.raises(RunError, match="fold 1 of 3 is missing"):
        check_checkouts(_settings(text), tmp_path)


def test_a_clone_of_another_fold_is_refused(text: str, tmp_path: Path) -> None:
    for fold in (0, 1, 2):
        _write(tmp_path, fold, fold_params(text, 3, 1))
    with pytest.raises(RunError, match=r"fold 0: its params.yaml has fold 1 of 3"):
        check_checkouts(_settings(text), tmp_path)


@pytest.mark.parametrize("change", ["study.seeds=[0,1]", "finetune.batch_size=8", "validate.min_side=33"])
def test_other_settings_are_refused_by_name(text: str, tmp_path: Path, change: str) -> None:
    for fold in (0, 1, 2):
        _write(tmp_path, fold, fold_params(edit(text, change), 3, fold))
    key = change.partition("=")[0].replace(".", r"\.")
    with pytest.raises(RunError, match=rf"fold 0 was made with other settings: {key}"):
        check_checkouts(_settings(text), tmp_path)


def test_other_code_or_data_are_refused_with_the_file(tmp_path: Path) -> None:
    lock = "stages:\n  validate:\n    deps:\n    - path: flows/validate.py\n      md5: {}\n    outs:\n"
    lock += "    - path: data/accepted.parquet\n      md5: {}\n"
    roots = []
    for fold, (code, data) in enumerate([("a", "b"), ("a", "b"), ("a", "c"), ("d", "b")]):
        roots.append(tmp_path / str(fold))
        roots[-1].mkdir()
        (roots[-1] / "dvc.lock").write_text(lock.format(code, data))
    check_same_code_and_data(roots[:2], Path("data/accepted.parquet"))
    with pytest.raises(RunError, match=r"folds 0 and 2 were made with other code or data: data/accepted.parquet"):
        check_same_code_and_data(roots[:3], Path("data/accepted.parquet"))
    with pytest.raises(RunError, match=r"folds 0 and 3 .*: flows/validate.py differs"):
        check_same_code_and_data([roots[0], roots[3]], Path("data/accepted.parquet"))


def test_folds_beyond_the_number_are_removed(tmp_path: Path) -> None:
    for fold in range(5):
        _write(tmp_path, fold, "")
    remove_other_folds(tmp_path, 3)
    assert present_folds(tmp_path) == [0, 1, 2]
