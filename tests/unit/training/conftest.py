"""Fixtures of several files of tests of training."""

from __future__ import annotations

import pytest

from tests.unit.training.toy_training import train_toy


@pytest.fixture(scope="session")
def straight():
    """The toy training without interruption: module and result."""
    return train_toy(monitor="val/loss")
