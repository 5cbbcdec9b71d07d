"""Scans on a real dask cluster: a scheduler and two workers on loopback, one of which is killed on the way."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import DataError
from components.validation.executors import open_executor
from components.validation.scan import scan
from tests.unit.validation.image_files import bad_files, clean_files, encode, photograph


@contextmanager
def started(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process of dask's command line, and everything that it started, gone at the end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "distributed.cli." + arguments[0], *arguments[1:]],
            stdout=file, stderr=file, env=environment, start_new_session=True,
        )  # fmt: skip
        try:
            yield process
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                if process.poll() is None:
                    os.killpg(process.pid, number)
                    try:
                        process.wait(5)
                    except subprocess.TimeoutExpired:
                        continue


def wait_for(log: Path, words: str, seconds: float = 20) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := re.search(words, log.read_text()):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"{words} is not in {log.read_text()}")


SCHEDULER = ["dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"]
WORKER = ["dask_worker", "--host", "127.0.0.1", "--nthreads", "1", "--nworkers", "1", "--no-nanny", "--no-dashboard"]


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    log = tmp_path / "scheduler.log"
    with started(SCHEDULER, log):
        yield wait_for(log, r"tcp://127\.0\.0\.1:\d+")


@contextmanager
def worker(address: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with started([*WORKER, "--local-directory", str(log.parent), address], log) as process:
        yield process


def write_images(root: Path) -> list[str]:
    """Several hundred, some large enough that the work takes seconds, with broken ones among them."""
    root.mkdir()
    files = {f"large_{n:03}.png": encode(photograph(500, n), "PNG", compress_level=1) for n in range(12)}
    files |= {f"small_{n:03}.jpg": encode(photograph(48, n), "JPEG") for n in range(150)}
    files |= clean_files() | {name: data for name, (data, _) in bad_files().items()}
    for name, data in files.items():
        (root / name).write_bytes(data)
    for n in range(120):  # copies of the large ones cost decoding, not disk
        (root / f"again_{n:03}.png").hardlink_to(root / f"large_{n % 12:03}.png")
    return sorted(path.name for path in root.iterdir())


def test_a_killed_worker_changes_nothing(scheduler: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    names = write_images(root)
    alone = scan(root, names, None, lambda items, total, what: items).facts
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    with worker(scheduler, logs[0]) as victim, worker(scheduler, logs[1]):
        for log in logs:
            wait_for(log, "Registered to")
        seen = []

        def kill_on_the_way(items: Iterable[object], total: int, what: str) -> Iterator[object]:
            for number, item in enumerate(items):
                if number == 0:
                    os.kill(victim.pid, signal.SIGKILL)
                    victim.wait(5)
                    seen.append(total)
                yield item

        with open_executor(2, scheduler) as executor:
            spread = scan(root, names, executor, kill_on_the_way, cache=tmp_path / "cache").facts
        with open_executor(2, scheduler) as executor:
            warm = scan(root, names, executor, lambda items, total, what: items, cache=tmp_path / "cache")
    assert victim.returncode == -signal.SIGKILL
    assert seen == [len(names)] and len(names) > 350
    pd.testing.assert_frame_equal(alone, spread)
    pd.testing.assert_frame_equal(alone, warm.facts)
    assert warm.decoded == 0


def test_a_scheduler_without_workers_is_an_error_that_says_so(scheduler: str) -> None:
    words = f"scan.cluster .* is {scheduler}, a dask scheduler without workers"
    with pytest.raises(DataError, match=words), open_executor(2, scheduler):
        pass


def test_an_address_where_nobody_answers_is_named_with_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.validation.executors.TIMEOUT", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound, but without a listener
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        words = rf"scan\.cluster \(params\.yaml\) is {address}, expected .* dask scheduler"
        with pytest.raises(DataError, match=words), open_executor(2, address):
            pass
