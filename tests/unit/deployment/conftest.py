"""One bundle for all tests that do not change it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.comparison.simulated_study import FOLDERS
from tests.unit.deployment.bundled_study import make_bundle


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study with its bundle."""
    root = tmp_path_factory.mktemp("bundled")
    make_bundle(root)
    return root


@pytest.fixture(scope="session")
def folder(study: Path) -> Path:
    """The bundle."""
    return study / FOLDERS["bundle"]
