"""Fixtures that several tests share."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest

from flows.orchestration.warm_server import warm_server

hypothesis.settings.register_profile("dermflow", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("dermflow")

REPO = Path(__file__).resolve().parent.parent
SHARED = REPO.parent / "shared" / "data"


FOR_STAGES = {"PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
"""Variables of the stages that tests run."""


AT_START = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
"""Variables of this process, before tests and the libraries that they import have set some.

Without those that pytest changes from test to test: the server that stages share refuses other values than its own.
"""


def pytest_configure(config: pytest.Config) -> None:
    """With several workers, all stages of all tests start from one server with the libraries."""
    if hasattr(config, "workerinput") or not getattr(config.option, "numprocesses", None):
        return
    with ExitStack() as held, pytest.MonkeyPatch.context() as changed:
        for name in os.environ.keys() - AT_START.keys():
            changed.delenv(name)
        found = held.enter_context(warm_server(FOR_STAGES))
        config.add_cleanup(held.pop_all().close)
    os.environ.update(found)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first: one that starts last keeps one worker busy when the others have ended."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


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
