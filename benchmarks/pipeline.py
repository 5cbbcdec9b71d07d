"""demo_s, noop_repro_s, noop_flow_s: wall seconds of the demo in a fresh clone, and of runs that change nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Result, summarise

REPO = Path(__file__).resolve().parent.parent


def run() -> list[Result]:
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(REPO), str(clone)], check=True)
        flow, repro = [sys.executable, "-m", "flows.commands.cli", "demo"], [sys.executable, "-m", "dvc", "repro"]
        demo = [seconds(flow, clone)]
        noop_repro = [seconds(repro, clone) for _ in range(5)]
        noop_flow = [seconds(flow, clone) for _ in range(3)]
    command = "python -m benchmarks pipeline"
    return [
        summarise("demo_s", demo, "at most 60", "s wall", command),
        summarise("noop_repro_s", noop_repro, "under 2", "s wall", command),
        summarise("noop_flow_s", noop_flow, "under 3", "s wall", command),
    ]


def seconds(command: list[str], folder: Path) -> float:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }  # as in the Makefile
    began = time.monotonic()
    subprocess.run(
        command,
        cwd=folder,
        env={**kept, "PATH": path},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.monotonic() - began
