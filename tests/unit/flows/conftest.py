"""Checkouts with a database of runs: each is made once, as creating an MLflow database takes seconds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.flows import toy_repository
from tests.unit.flows.small_dataset import small_dataset  # noqa: F401  # fixture
from tests.unit.flows.small_finetuning import labels, params, paths, run, settings  # noqa: F401  # fixtures


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Path:
    folder = tmp_path_factory.mktemp("toy") / "checkout"
    toy_repository.build(folder, repo)
    return folder


@pytest.fixture
def toy_checkout(toy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy repository as the current folder, as committed, with data as first written."""
    monkeypatch.chdir(toy_folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    toy_repository.restore(toy_folder)
    return toy_folder


@pytest.fixture(scope="session")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkout")


@pytest.fixture
def plain_checkout(plain_folder: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml alone, without git or DVC, as the current folder."""
    (plain_folder / "params.yaml").write_text((repo / "params.yaml").read_text())
    monkeypatch.chdir(plain_folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return plain_folder
