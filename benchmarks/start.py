"""stage_start_s, stage_start_speedup: how long a stage takes before its work, by itself and from a warm server.

The stage is given too few arguments: it ends where its work would begin, after all imports of its module.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Result, summarise
from flows.orchestration.warm_server import warm_server

REPO = Path(__file__).resolve().parent.parent
STAGE = "finetune"
ROUNDS = 7


def run() -> list[Result]:
    times = []
    with tempfile.TemporaryDirectory() as temporary, warm_server({"OMP_NUM_THREADS": "1"}) as warm:
        clone = Path(temporary) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(REPO), str(clone)], check=True)
        while warm["DERMFLOW_WARM"] not in Path("/proc/net/unix").read_text():
            time.sleep(0.2)
        for _ in range(ROUNDS):
            times.append((_seconds(clone, {"DERMFLOW_WARM": ""}), _seconds(clone, warm)))
    command = "python -m benchmarks start"
    return [
        summarise("stage_start_s", [forked for _, forked in times[1:]], "under 0.7", "s wall", command),
        summarise("stage_start_speedup", [alone / forked for alone, forked in times[1:]], "at least 5", "x", command),
    ]


def _seconds(folder: Path, environment: dict[str, str]) -> float:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", f"flows.{STAGE}"], cwd=folder, check=False, capture_output=True, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "DVC_STAGE": STAGE, **environment},
    )  # fmt: skip
    assert "takes ['arm', 'protocol', 'seed'], got []" in done.stderr, done.stderr
    return time.monotonic() - began
