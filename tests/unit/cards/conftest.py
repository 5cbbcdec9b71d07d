"""The cards of one simulated run, which the tests of the room share."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path

import pytest

from flows.cards import cards
from tests.unit.cards.simulated_run import arguments, prepare


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Path:
    """A study that never ran, with its cards."""
    place = tmp_path_factory.mktemp("cards")
    with chdir(place):
        prepare()
        cards.work(**arguments(repo))
    return place
