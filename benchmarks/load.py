"""`python -m benchmarks.load BUNDLE FOLDER`: 10,000 requests to `dermflow serve`, one image of a folder each.

Prints for each block of 2,000: status codes, images a second, medians and 99 % of the times, the server's memory.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil

from benchmarks.deployment import CLIENTS, our_server
from components.deployment.bundle import open_bundle

BLOCKS, REQUESTS, FILES = 5, 2000, 500


def main(bundle: Path, folder: Path) -> None:
    files = [path.read_bytes() for path in sorted(folder.glob("*.jpg"))[:FILES]]
    assert files, f"{folder}: no *.jpg there"
    with our_server(open_bundle(bundle)) as address, httpx.Client(timeout=60) as client:
        server = psutil.Process().children()[0]

        def one(place: int) -> tuple[int, float]:
            began = time.monotonic()
            answer = client.post(f"{address}/predict", content=files[place % len(files)])
            return answer.status_code, time.monotonic() - began

        for block in range(BLOCKS):
            began = time.monotonic()
            with ThreadPoolExecutor(CLIENTS) as executor:
                found = list(executor.map(one, range(REQUESTS)))
            rate = REQUESTS / (time.monotonic() - began)
            times = sorted(1000 * seconds for _, seconds in found)
            print(
                f"block {block + 1}: status {sorted({status for status, _ in found})}, {rate:.0f} img/s, median "
                f"{times[REQUESTS // 2]:.0f} ms, 99 % {times[REQUESTS * 99 // 100]:.0f} ms, "
                f"{server.memory_info().rss / 2**20:.0f} MiB"
            )


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
