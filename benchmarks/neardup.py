"""All pairs within distance 6 among 400,000 hashes of 64 bits: ours, all comparisons in numpy, and faiss flat.

Ours is timed completely. Comparing every pair once is timed on 1 % of the first hashes' blocks, faiss on 1 % of its
queries, and both are multiplied by 100, since every block and query costs the same. Peak memory is that of a process
that does nothing else, on even hashes and on skewed ones (half of them share 16 bits with one of 200 values, 2,000 are
equal): `python -m benchmarks.neardup` prints both.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from typing import Any

import numpy as np

from benchmarks.measure import Result, cpu_seconds, summarise
from components.validation.neighbours import pairs_within

Hashes = np.ndarray[Any, np.dtype[np.uint64]]

N = 400_000
DISTANCE = 6
SHARE = 100  # one in so many is timed
ROWS = 500  # of a block compared with WIDE others: its working memory stays in the cache
WIDE = 8_192
COMMAND = "python -m benchmarks neardup"


def even() -> Hashes:
    """A tenth of them are copies of others with up to seven bits flipped."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, N, dtype=np.uint64)
    for _ in range(7):
        hashes[: N // 10] ^= np.uint64(1) << rng.integers(0, 64, N // 10, dtype=np.uint64)
        hashes[: N // 10] = np.where(rng.random(N // 10) < 0.2, hashes[-(N // 10) :], hashes[: N // 10])
    return hashes


def skewed() -> Hashes:
    rng = np.random.default_rng(1)
    hashes, centres = (rng.integers(0, 2**64, many, dtype=np.uint64) for many in (N, 200))
    word = np.uint64(0xFFFF) << (np.uint64(16) * rng.integers(0, 4, N // 2, dtype=np.uint64))
    hashes[: N // 2] = (centres[rng.integers(0, 200, N // 2)] & word) | (hashes[: N // 2] & ~word)
    hashes[-2_000:] = hashes[0]
    return hashes


def compare_all(hashes: Hashes, rows: int) -> int:
    """Pairs within distance of `rows` hashes and the N / 2 that each meets when every pair is compared once."""
    found = 0
    for top in range(0, rows, ROWS):
        block = hashes[top : top + ROWS, None]
        for left in range(0, N // 2, WIDE):
            near = np.bitwise_count(block ^ hashes[None, left : min(left + WIDE, N // 2)]) <= DISTANCE
            found += int(np.count_nonzero(near))
    return found


def search_flat(index: Any, hashes: Hashes, queries: int) -> int:
    """faiss' own count for its first queries; it takes distances below its radius."""
    limits, _, _ = index.range_search(hashes[:queries].view(np.uint8).reshape(-1, 8), DISTANCE + 1)
    return int(limits[-1])


def run() -> list[Result]:
    import faiss

    faiss.omp_set_num_threads(1)
    hashes = even()
    index = faiss.IndexBinaryFlat(64)
    index.add(hashes.view(np.uint8).reshape(-1, 8))
    pairs_within(hashes, DISTANCE), compare_all(hashes, ROWS), search_flat(index, hashes, 100)
    brute, flat = [], []
    for _ in range(7):
        ours = cpu_seconds(lambda: pairs_within(hashes, DISTANCE))
        brute.append(SHARE * cpu_seconds(lambda: compare_all(hashes, N // SHARE)) / ours)
        ours = statistics.mean([ours, cpu_seconds(lambda: pairs_within(hashes, DISTANCE))])
        flat.append(SHARE * cpu_seconds(lambda: search_flat(index, hashes, N // SHARE)) / ours)
    return [
        summarise("neardup_vs_bruteforce", brute, ">= 100", "times", COMMAND),
        summarise("neardup_vs_faiss", flat, ">= 5", "times", COMMAND),
    ]


def peak_megabytes(kind: str) -> float:
    """Of a fresh process that makes the hashes and searches them."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.neardup", kind], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main(kinds: list[str]) -> None:
    if kinds:
        pairs_within({"even": even, "skewed": skewed}[kinds[0]](), DISTANCE)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
        return
    for kind in ("even", "skewed"):
        print(f"{kind} hashes: peak memory {peak_megabytes(kind):.0f} MB")


if __name__ == "__main__":
    main(sys.argv[1:])
