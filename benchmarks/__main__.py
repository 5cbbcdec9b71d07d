"""`python -m benchmarks [NAME ...]`: run the named benchmarks (all by default) and update benchmarks/results.json."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path

RESULTS = Path(__file__).with_name("results.json")
ALL = (
    "scan",
    "neardup",
    "validation",
    "loader",
    "feeding",
    "train_step",
    "step",
    "frozen",
    "evidence",
    "peers",
    "deployment",
    "start",
    "pipeline",
)


def main(names: list[str]) -> None:
    known = {entry["name"]: entry for entry in (json.loads(RESULTS.read_text()) if RESULTS.exists() else [])}
    for name in names or ALL:
        for result in import_module(f"benchmarks.{name}").run():
            known[result.name] = result.record()
    for entry in known.values():
        low, high = entry["spread"]
        figures = f"{entry['value']:8.3f} {entry['unit']:7} ({low:.3f} to {high:.3f})"
        print(f"{entry['name']:20} {figures}  goal {entry['goal']}")
    RESULTS.write_text(json.dumps(list(known.values()), indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
