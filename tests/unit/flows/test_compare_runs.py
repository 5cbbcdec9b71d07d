"""Two runs are compared stage by stage, from their dvc.lock and the files behind it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from flows.reproduction.compare_runs import FindOriginal, Lock, RunComparison, compare_locks
from flows.tracking.lineage import file_md5


def entry(outs: dict[str, str], deps: dict[str, str], **params: object) -> dict[str, object]:
    """A stage of dvc.lock."""
    listed = ([{"path": path, "md5": md5} for path, md5 in paths.items()] for paths in (deps, outs))
    return {"cmd": "x", **dict(zip(("deps", "outs"), listed, strict=True)), "params": {"params.yaml": params}}


def compare(
    then: Lock,
    now: Lock,
    order: Sequence[str],
    root: Path,
    find: FindOriginal,
    moved: Mapping[str, str] | None = None,
) -> RunComparison:
    return compare_locks(then, now, order=order, root=root, find_original=find, moved=moved or {})


def test_the_first_stage_that_differs_is_named_with_its_inputs(tmp_path: Path) -> None:
    """Differences downstream are consequences; pages are not compared."""
    pages = {"index.html": "9", "model_card.md": "10", "answer.txt": "11"}
    for name in ("split.csv", *pages):
        (tmp_path / name).write_text("a,0.5\n")
    (tmp_path / "former").write_text("a,0.75\n")
    code, data = "components/data/splits.py", "data/raw/mine"
    then = {
        "ingest": entry({"records": "1"}, {"/else/mine": "d"}, dataset={"path": "/else/mine"}),
        "split": entry({"split.csv": "2"}, {code: "3", data: "4", "records": "1"}, split={"seed": 0, "folds": None}),
        "average": entry(dict.fromkeys(pages, "5"), {"split.csv": "2"}),
    }
    now = {
        "ingest": entry({"records": "1"}, {"../mine": "d"}, dataset={"path": "../mine"}),
        "split": entry({"split.csv": "6"}, {code: "7", data: "8", "records": "1"}, split={"seed": 1, "folds": None}),
        "average": entry(pages, {"split.csv": "6"}),
        "new": entry({}, {}),
    }
    moved = {"../mine": "/else/mine"}
    found = compare(then, now, [*now, "not run"], tmp_path, lambda path, md5: tmp_path / "former", moved)
    assert [(stage.address, stage.verdict) for stage in found.stages] == [
        ("ingest", "equal"), ("split", "differs"), ("average", "equal within 1e-06")
    ]  # fmt: skip
    assert found.verdict == "differs" and found.unrecorded == ["new"]
    assert found.first is not None and found.first.reasons == [
        f"other code: {code} (md5 3 then, 7 now)",
        f"other data: {data} (md5 4 then, 8 now)",
        "other setting: split.seed = 0 then, 1 now",
    ]
    assert found.first.files[0].distance == math.inf  # "0.5" and "0.75" are names of columns
    assert compare(then, {}, ["ingest"], tmp_path, lambda path, md5: None).verdict == "differs"  # none made
    lost = compare(then, now, ["split"], tmp_path, lambda path, md5: None, moved)
    assert lost.stages[0].files[0].lost and lost.verdict == "differs"


def test_the_distance_of_a_folder_is_the_largest_of_its_files(tmp_path: Path) -> None:
    """DVC stores a folder as a list of md5; here of arrays, in which one last digit differs."""
    former, now = tmp_path / "former", tmp_path / "runs"
    for folder, shift in ((former, 0.0), (now, 1e-9)):
        folder.mkdir()
        for name, values in {"a.npy": [0.5, 1.0], "b.npy": [0.25 + shift]}.items():
            np.save(folder / name, np.array(values))
    listing = [{"relpath": name, "md5": file_md5(former / name)} for name in ("a.npy", "b.npy")]
    (former / "list").write_text(json.dumps(listing))

    def find(path: str, md5: str) -> Path:
        return former / ("list" if md5.endswith(".dir") else Path(path).name)

    locks = [{"evaluate": entry({"runs": f"{word}.dir"}, {})} for word in ("then", "now")]
    found = compare(*locks, ["evaluate"], tmp_path, find)
    assert found.stages[0].files[0].distance == pytest.approx(1e-9) and found.verdict == "equal within 1e-06"
    (now / "c.npy").touch()
    assert compare(*locks, ["evaluate"], tmp_path, find).verdict == "differs"
