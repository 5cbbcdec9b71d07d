"""Fixtures that several tests share."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("dermflow", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("dermflow")

REPO = Path(__file__).resolve().parent.parent
SHARED = REPO.parent / "shared" / "data"


@pytest.fixture(scope="session")
def repo() -> Path:
    """The checkout that the tests belong to."""
    return REPO


@pytest.fixture(scope="session")
def ham10000() -> Path:
    """The folder of real HAM10000 images and metadata, or a skip that says why."""
    folder = SHARED / "ham10000"
    if not (folder / "HAM10000_metadata.csv").is_file():
        pytest.skip("real data: ../shared/data/ham10000 is not here")
    return folder


@pytest.fixture(scope="session")
def tables() -> Path:
    """The folder of real metadata tables without images, or a skip that says why."""
    folder = SHARED / "tables"
    if not (folder / "PAD-UFES-20_metadata.csv").is_file():
        pytest.skip("real tables: ../shared/data/tables is not here")
    return folder


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder of small tables as people have them, or a skip that says why."""
    folder = SHARED.parent / "cases"
    if not folder.is_dir():
        pytest.skip("tables as people have them: ../shared/cases is not here")
    return folder
