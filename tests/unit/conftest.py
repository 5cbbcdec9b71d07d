"""What tests of several rooms share: one small study with its bundle, which none of them changes."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def bundled_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study with its bundle."""
    from tests.unit.deployment.bundled_study import make_bundle  # here: it loads torch

    root = tmp_path_factory.mktemp("bundled")
    make_bundle(root)
    return root


@pytest.fixture(scope="session")
def bundle_folder(bundled_study: Path) -> Path:
    """The bundle."""
    from tests.unit.comparison.simulated_study import FOLDERS

    return bundled_study / FOLDERS["bundle"]
