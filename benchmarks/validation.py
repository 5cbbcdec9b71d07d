"""validation_400k_s: time and memory of data validation and split by the number of rows, on synthetic tables.

validation_ham10000_cold_s, validation_ham10000_warm_s: the stage `validate` on all of HAM10000, without and with the
scan's cache.

The synthetic tables go through contract, near-duplicates, acceptance, grouping and split. They have no images, so the
scan and the comparison of pixels are left out; `scan_*` and `neardup_*` measure these. Each size runs in a process of
its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import Result, summarise
from benchmarks.pipeline import REPO, seconds

SIZES = (10_000, 50_000, 100_000, 400_000)
REPEATS = 2
COMMAND = "python -m benchmarks validation"
HAM10000 = REPO.parent / "shared" / "data" / "ham10000"
FIGURE = REPO / "docs" / "figures" / "validation-scaling.png"
SHARES = {"nv": 0.67, "mel": 0.11, "bkl": 0.11, "bcc": 0.05, "akiec": 0.03, "vasc": 0.015, "df": 0.015}  # HAM10000's
SOURCES = ("clinic a", "clinic b", "clinic c")
GROUP_BY = ("patient_id", "lesion_id")
FRACTIONS = {"train": 0.6, "val": 0.2, "test": 0.2}
PARTS = ("contract", "duplicates", "acceptance", "grouping", "split")


def run() -> list[Result]:
    return [*scaling(), *ham10000()]


def scaling() -> list[Result]:
    """Each size in a process of its own, and the curve as a figure."""
    measured = {size: [measure_apart(size) for _ in range(REPEATS)] for size in SIZES}
    draw_curve(measured)
    results = []
    for size, runs in measured.items():
        name, largest = f"validation_{size // 1000}k", size == max(SIZES)
        times = [sum(one[part] for part in PARTS) for one in runs]
        results.append(summarise(f"{name}_s", times, "under 60" if largest else "a curve", "s CPU", COMMAND))
        if largest:
            results.append(summarise(f"{name}_gb", [one["gb"] for one in runs], "under 2", "GB", COMMAND))
    return results


def measure_apart(size: int) -> dict[str, float]:
    """CPU seconds of each part and peak GB, from a fresh process."""
    command = [sys.executable, "-m", "benchmarks.validation", str(size)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=REPO, env=environment, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(size: int) -> dict[str, float]:
    """CPU seconds of each part on a synthetic table, and the process's peak memory in GB."""
    from components.data.leaks import prove_no_leak
    from components.data.records import Accepted, Split, check
    from components.data.splits import group_rows, split_table
    from components.validation.duplicate_groups import name_groups
    from components.validation.expectations import accept
    from components.validation.hash_candidates import DISTANCE, propose
    from components.validation.quarantine import find_unusable

    records, facts = draw_tables(size)
    spent: dict[str, float] = {}
    with clock(spent, "contract"):
        reasons = find_unusable(records, facts, list(SHARES), min_side=32)
        good = records.merge(facts, on="path").drop(index=reasons.index.unique())
    with clock(spent, "duplicates"):
        rows = good.sort_values("image_id").drop_duplicates("sha256")
        near = propose(rows["phash"].to_numpy(np.uint64), np.zeros((len(rows), 0), np.uint64), DISTANCE)
        ids = rows["image_id"].to_numpy()
        pairs = pd.DataFrame({"first": ids[near["low"]], "second": ids[near["high"]]})
        good = good.assign(twins=name_groups(good, pairs))
    with clock(spent, "grouping"):
        accepted = good[list(Accepted.columns)].astype({"width": "int64", "height": "int64"})
        groups = group_rows(check(accepted, Accepted), GROUP_BY)
    with clock(spent, "acceptance"), tempfile.TemporaryDirectory() as folder:
        outcomes = accept(good.assign(group=groups), list(SHARES), Path(folder) / "docs", min_groups=3, max_missing=0.5)
    with clock(spent, "split"):
        split = split_table(accepted, list(SHARES), GROUP_BY, FRACTIONS, seed=0)
        prove_no_leak(check(split, Split), accepted, GROUP_BY)
    assert len(reasons) == PLANTED_FAULTS, reasons
    assert good["twins"].notna().sum() >= 2 * (size // 200), "the planted copies are not found"
    assert all(outcome["success"] for outcome in outcomes), outcomes
    gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {**spent, "gb": gb, "twins": int(good["twins"].nunique()), "groups": int(groups.nunique())}


@contextmanager
def clock(spent: dict[str, float], part: str) -> Iterator[None]:
    began = time.process_time()
    yield
    spent[part] = time.process_time() - began


PLANTED_FAULTS = 5  # broken values, one each in five rows
FAULTS = {"age": 140.0, "sex": "x", "path": "../out.jpg", "site": "", "skin_type": 9}


def draw_tables(size: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Records and facts: 1.6 images a lesion, 2 lesions a patient, 3 sources, copies in 1 of 200 images."""
    from components.data.read_report import ReadReport
    from components.data.records import apply_labels, conform

    random = np.random.default_rng(0)
    lesion = random.integers(0, max(1, size * 5 // 8), size)
    patient = lesion // 2
    word = np.array([*SHARES, None], dtype=object)
    shares = np.array([*SHARES.values(), 0.05])  # one of twenty lesions without a diagnosis
    of_lesion = random.choice(len(word), lesion.max() + 1, p=shares / shares.sum())
    number = pd.Series(np.arange(size)).astype("str").str.zfill(7)
    table = pd.DataFrame(
        {
            "image_id": "image-" + number,
            "path": "images/" + number + ".jpg",
            "diagnosis": word[of_lesion[lesion]],
            "lesion_id": "lesion-" + pd.Series(lesion).astype("str"),
            "patient_id": "patient-" + pd.Series(patient).astype("str"),
            "age": random.integers(3, 18, size) * 5.0,
            "sex": random.choice(["male", "female", "unknown"], size, p=[0.5, 0.45, 0.05]),
            "site": random.choice(["torso", "head/neck", "lower extremity", "upper extremity"], size),
            "skin_type": random.integers(1, 7, size),
            "source": np.array(SOURCES)[patient % 3],
        }
    )
    for row, (column, value) in enumerate(FAULTS.items()):
        table.loc[row, column] = value
    records = apply_labels(conform(table, "drawn", ReadReport()), {name: name for name in SHARES})
    return records, draw_facts(records["path"], random)


def draw_facts(paths: pd.Series, random: np.random.Generator) -> pd.DataFrame:
    """Facts of sound images; 1 of 200 is a turned copy of another, with a hash that differs in one bit."""
    from components.validation.perceptual_hash import TURNS, turned

    size = len(paths)
    hashes = random.integers(0, 2**64, size, dtype=np.uint64)
    copies, originals = np.split(10 + random.permutation(size - 10)[: 2 * (size // 200)], 2)
    for turn, some in zip(TURNS, np.array_split(np.arange(len(copies)), len(TURNS)), strict=True):
        noise = np.uint64(1) << random.integers(0, 64, len(some), dtype=np.uint64)
        hashes[copies[some]] = turned(hashes[originals[some]], turn) ^ noise
    text = random.bytes(32 * size).hex()
    shares = {name: random.uniform(0.03, 0.3, size) for name in ("dark", "bright", "saturation", "vignette")}
    return pd.DataFrame(
        {
            "path": paths,
            "problem": pd.array([None] * size, "str"),
            "detail": pd.array([None] * size, "str"),
            "sha256": pd.Series([text[64 * row : 64 * row + 64] for row in range(size)], dtype="str"),
            "width": pd.array(np.full(size, 600), "Int64"),
            "height": pd.array(np.full(size, 450), "Int64"),
            "luma": random.uniform(60, 200, size),
            "sharpness": random.uniform(20, 400, size),
            "phash": pd.array(hashes, "UInt64"),
            **shares,
        }
    )


def draw_curve(measured: dict[int, list[dict[str, float]]]) -> None:
    """Seconds and memory by rows on log axes; a straight line of slope 1 is growth in proportion."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    from components.report.figures import FONT_SIZE, GRID_COLOUR, INK, PALETTE, PANEL_WIDTH, plain_axes

    sizes = list(measured)
    figure = Figure(figsize=(2 * PANEL_WIDTH, 3.6), layout="constrained")
    time_axes, memory_axes = figure.subplots(1, 2)
    lines = {"together": [np.median([sum(one[part] for part in PARTS) for one in runs]) for runs in measured.values()]}
    lines |= {part: [np.median([one[part] for one in runs]) for runs in measured.values()] for part in PARTS}
    for colour, (name, values) in zip((INK, *PALETTE), lines.items(), strict=False):
        width = 2.2 if name == "together" else 1.3
        time_axes.plot(sizes, values, "o-", color=colour, linewidth=width, markersize=3.5, label=name)
    gigabytes = [np.median([one["gb"] for one in runs]) for runs in measured.values()]
    memory_axes.plot(sizes, gigabytes, "o-", color=INK, linewidth=2.2, markersize=3.5)
    for axes, goal, what in ((time_axes, 60, "CPU seconds"), (memory_axes, 2, "peak memory, GB")):
        plain_axes(axes)
        axes.set(xscale="log", yscale="log", xlabel="rows", ylabel=what)
        axes.set_xticks(sizes, [f"{size // 1000}k" for size in sizes])
        axes.minorticks_off()
        axes.axhline(goal, color=GRID_COLOUR, linestyle="--", linewidth=1.2)
        axes.annotate(f"goal {goal}", (sizes[0], goal), (0, 3), textcoords="offset points", fontsize=FONT_SIZE - 1)
        for label in (axes.xaxis.label, axes.yaxis.label):
            label.set_fontsize(FONT_SIZE)
    memory_axes.set_ylim(0.1, 4)
    memory_axes.set_yticks([0.1, 0.2, 0.5, 1, 2], ["0.1", "0.2", "0.5", "1", "2"])
    time_axes.set_ylim(0.02, 150)
    time_axes.set_yticks([0.1, 1, 10, 60], ["0.1", "1", "10", "60"])
    figure.legend(fontsize=FONT_SIZE - 1, frameon=False, loc="outside lower center", ncols=len(lines))
    FIGURE.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(FIGURE, dpi=150)


def ham10000() -> list[Result]:
    """Wall seconds of `validate` in a fresh clone with two workers: no cache, then nothing changed."""
    if not (HAM10000 / "HAM10000_metadata.csv").is_file():
        print("validation_ham10000_*: skipped, ../shared/data/ham10000 is not here")
        return []
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(REPO), str(clone)], check=True)
        use = ["-m", "flows.commands.cli", "use", "ham10000", f"dataset.path={HAM10000}", "scan.workers=2"]
        for command in (use, ["-m", "flows.ingest"]):
            seconds([sys.executable, *command], clone)
        validate = [sys.executable, "-m", "flows.validate"]
        cold, *warm = [seconds(validate, clone) for _ in range(4)]
    return [
        summarise("validation_ham10000_cold_s", [cold], "under 60", "s wall", COMMAND),
        summarise("validation_ham10000_warm_s", warm, "under 10", "s wall", COMMAND),
    ]


def main(arguments: list[str]) -> None:
    figures: dict[str, Any] = measure(int(arguments[0]))
    print(json.dumps(figures))


if __name__ == "__main__":
    main(sys.argv[1:])
