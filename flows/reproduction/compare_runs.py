"""What a run made then against what it made now: each stage's outputs by md5, and numbers where a md5 differs.

The two dvc.lock hold every output of every stage and every input that it had, code files and settings among them; the
first stage of the graph whose outputs differ is where it began, and those of its inputs that differ are the reason.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from flows.reproduction.differences import TOLERANCE, Difference, differing_values, distance_of_files
from flows.tracking.lineage import file_md5
from flows.tracking.mlflow_log import flatten

Lock = Mapping[str, Any]  # a stage's address -> its entry in dvc.lock
Former = Callable[[str, str], Path | None]  # path and md5 -> a file with the content of then, if one is left
CODE = ("flows/", "components/")
PAGES = (".html", ".md", ".txt", ".png", ".svg", ".css", ".js", ".ico")  # their numbers stand in other files
EQUAL, NEAR, DIFFERS = "equal", f"equal within {TOLERANCE:g}", "differs"


@dataclass(frozen=True)
class File:
    """An output whose md5 differs, and how far apart the numbers in it are."""

    path: str
    then: str
    now: str | None
    distance: float  # infinite: something else than last digits differs, or what was in it then is lost
    lost: bool = False  # what was in it then is nowhere to be had

    @property
    def verdict(self) -> str:
        """Of a page nothing is compared: its numbers stand in other files, its maps and pictures in none."""
        near = self.distance <= TOLERANCE or (self.now is not None and self.path.endswith(PAGES))
        return NEAR if near else DIFFERS


@dataclass(frozen=True)
class Made:
    """A stage then and now."""

    address: str
    outputs: int  # whose md5 was recorded
    files: list[File]
    numbers: list[Difference]
    reasons: list[str]

    @property
    def verdict(self) -> str:
        """The worst of its files."""
        found = {file.verdict for file in self.files}
        return next((word for word in (DIFFERS, NEAR) if word in found), EQUAL)


@dataclass(frozen=True)
class Comparison:
    """All stages of a run in the graph's order."""

    stages: list[Made]
    unrecorded: list[str]  # stages that ran now, of which nothing was recorded then
    prints: list[Difference] = field(default_factory=list)  # sha256 of weights, in the tags of MLflow

    @property
    def first(self) -> Made | None:
        """Where it began."""
        return next((stage for stage in self.stages if stage.files), None)

    @property
    def verdict(self) -> str:
        """The worst of its stages, and of prints where weights are known by nothing else."""
        found = {stage.verdict for stage in self.stages} | ({DIFFERS} if self.prints else set())
        return next((word for word in (DIFFERS, NEAR) if word in found), EQUAL)

    def as_data(self) -> dict[str, Any]:
        """As JSON takes it: an infinite distance is null."""
        stages = [{**asdict(stage), "verdict": stage.verdict} for stage in self.stages]
        numbers = [number for stage in stages for number in stage["files"]]
        for file in numbers:
            file["distance"] = file["distance"] if math.isfinite(file["distance"]) else None
        first = self.first.address if self.first else None
        return {
            "verdict": self.verdict, "tolerance": TOLERANCE, "first": first, "stages": stages,
            "unrecorded": self.unrecorded, "prints": [asdict(print_) for print_ in self.prints],
        }  # fmt: skip


def compare_locks(
    then: Lock, now: Lock, order: Sequence[str], root: Path, former: Former, moved: Mapping[str, str]
) -> Comparison:
    """Compare the stages of `order` as they ran in the checkout `root`; `moved` is a data set's path now -> then."""
    known = [address for address in order if address in then]
    stages = [_compare_stage(address, then[address], now.get(address, {}), root, former, moved) for address in known]
    return Comparison(stages, [address for address in order if address in now and address not in then])


def _compare_stage(
    address: str, then: Mapping[str, Any], now: Mapping[str, Any], root: Path, former: Former, moved: Mapping[str, str]
) -> Made:
    before, after = hashes(then, "outs"), hashes(now, "outs")
    files = [
        _compare_file(path, md5, after.get(path), root, former)
        for path, md5 in before.items()
        if md5 != after.get(path)
    ]
    numbers = [number for file in files if file.path.endswith(".json") for number in _numbers(file, root, former)]
    return Made(address, len(before), files, numbers, _reasons(then, now, moved) if files and "cmd" in then else [])


def hashes(entry: Mapping[str, Any], part: str) -> dict[str, str]:
    """Path -> md5 of a lock entry's `deps` or `outs`."""
    return {item["path"]: item["md5"] for item in entry.get(part, []) if "md5" in item}


def _compare_file(path: str, then: str, now: str | None, root: Path, former: Former) -> File:
    if now is None or not (root / path).exists():
        return File(path, then, None, math.inf)
    if then.endswith(".dir") != now.endswith(".dir"):
        return File(path, then, now, math.inf)
    old = former(path, then)
    if old is None:
        return File(path, then, now, math.inf, lost=True)
    if then.endswith(".dir"):
        return _compare_folder(path, then, now, old, root, former)
    return File(path, then, now, distance_of_files(old, root / path, path))


def _compare_folder(path: str, then: str, now: str, listing: Path, root: Path, former: Former) -> File:
    """As far apart as its furthest files; DVC keeps a folder as a JSON list of its files' md5."""
    before = {item["relpath"]: item["md5"] for item in json.loads(listing.read_text())}
    after = {file.relative_to(root / path).as_posix(): file for file in (root / path).rglob("*") if file.is_file()}
    if before.keys() != after.keys():
        return File(path, then, now, math.inf)
    changed = {name: md5 for name, md5 in before.items() if md5 != file_md5(after[name])}
    inner = [_compare_file(f"{path}/{name}", md5, "", root, former) for name, md5 in changed.items()]
    apart = [0.0 if file.path.endswith(PAGES) else file.distance for file in inner]
    return File(path, then, now, max(apart, default=0.0), any(file.lost for file in inner))


def _numbers(file: File, root: Path, former: Former) -> list[Difference]:
    old = former(file.path, file.then)
    if old is None or file.now is None:
        return []
    return differing_values(read_flat(old), read_flat(root / file.path))


def read_flat(path: Path) -> dict[str, Any]:
    """The values of a JSON file, nested names and places in lists joined by slashes."""
    return _flat(json.loads(path.read_text()), "")


def _flat(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, (Mapping, list)):
        return {name: value}
    inner = value.items() if isinstance(value, Mapping) else enumerate(value)
    return {k: v for key, each in inner for k, v in _flat(each, f"{name}/{key}" if name else str(key)).items()}


def _reasons(then: Mapping[str, Any], now: Mapping[str, Any], moved: Mapping[str, str]) -> list[str]:
    """Inputs of a stage that differ, each in words."""
    before = hashes(then, "deps")
    after = {moved.get(path, path): md5 for path, md5 in hashes(now, "deps").items()}
    names = [path for path in dict.fromkeys([*before, *after]) if before.get(path) != after.get(path)]
    kinds = {path: "code" if path.startswith(CODE) else "data" for path in names}
    found = [f"other {kinds[path]}: {path} (md5 {before.get(path)} then, {after.get(path)} now)" for path in names]
    settings = differing_values(_settings_of(then), _moved_back(_settings_of(now), moved))
    return [*found, *(f"other setting: {each.name} = {each.then} then, {each.now} now" for each in settings)]


def _moved_back(value: Any, moved: Mapping[str, str]) -> Any:
    """A setting with every path as the run called it, in lists of cohorts too: the machine's own path goes nowhere."""
    if isinstance(value, Mapping):
        return {key: _moved_back(inner, moved) for key, inner in value.items()}
    if isinstance(value, list):
        return [_moved_back(inner, moved) for inner in value]
    return moved.get(value, value) if isinstance(value, str) else value


def _settings_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    return flatten({key: value for file in entry.get("params", {}).values() for key, value in file.items()}, ".")
