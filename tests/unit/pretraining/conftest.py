"""Packed images that the tests of pretraining share."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.data.pixels import Pixels, read_pixels
from tests.unit.pretraining.small_pretraining import write_splits


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_splits(tmp_path_factory.mktemp("pixels"))


@pytest.fixture
def train(folder: Path) -> Pixels:
    return read_pixels(folder / "train", folder / "unlabelled")


@pytest.fixture
def val(folder: Path) -> Pixels:
    return read_pixels(folder / "val")
