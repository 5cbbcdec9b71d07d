"""Compare the outputs of a repeated run with the original ones: by md5, and by numbers where the md5 differs.

A dvc.lock has the md5 of every input and output of every stage, code files included, and the settings. The first stage
of the graph whose outputs differ is the origin of all differences, and those of its inputs that differ are the reason.
In names of this package, `then` is the original run and `now` the repeated one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from components.base.keys import flat_keys
from flows.reproduction.differences import TOLERANCE, ValueDifference, differing_values, distance_of_files
from flows.settings import read_yaml
from flows.tracking.lineage import file_md5

Lock = Mapping[str, Any]  # a stage's address -> its entry in dvc.lock
FindOriginal = Callable[[str, str], Path | None]  # path and md5 of an output -> a file with its original content
CODE = ("flows/", "components/")
PAGES = (".html", ".md", ".txt", ".png", ".svg", ".css", ".js", ".ico")  # their numbers are in other files, too
EQUAL, NEAR, DIFFERS = "equal", f"equal within {TOLERANCE:g}", "differs"


@dataclass(frozen=True)
class ChangedFile:
    """An output whose md5 differs, and the distance of the numbers in it."""

    path: str
    then: str  # md5
    now: str | None  # md5; None where the repeated run did not make the file
    distance: float  # infinite: something else than numbers differs, or the original content is lost
    lost: bool = False  # no copy of the original content is left

    @property
    def verdict(self) -> str:
        """Near or different. A page counts as near: its numbers are in other files, its pictures are not compared."""
        near = self.distance <= TOLERANCE or (self.now is not None and self.path.endswith(PAGES))
        return NEAR if near else DIFFERS


@dataclass(frozen=True)
class StageComparison:
    """The outputs of one stage, compared."""

    address: str
    outputs: int  # number of outputs whose md5 was recorded
    files: list[ChangedFile]
    numbers: list[ValueDifference]  # in its JSON files
    reasons: list[str]  # inputs that differ, each as a sentence

    @property
    def verdict(self) -> str:
        """The worst of its files."""
        found = {file.verdict for file in self.files}
        return next((word for word in (DIFFERS, NEAR) if word in found), EQUAL)


@dataclass(frozen=True)
class RunComparison:
    """All stages of a run, compared, in the graph's order."""

    stages: list[StageComparison]
    unrecorded: list[str]  # stages of the repeated run of which nothing was recorded in the original
    weights: list[ValueDifference] = field(default_factory=list)  # sha256 of weights, from tags of MLflow

    @property
    def first(self) -> StageComparison | None:
        """The first stage that differs."""
        return next((stage for stage in self.stages if stage.files), None)

    @property
    def verdict(self) -> str:
        """The worst of its stages and, where they were compared by sha256, of the weights."""
        found = {stage.verdict for stage in self.stages} | ({DIFFERS} if self.weights else set())
        return next((word for word in (DIFFERS, NEAR) if word in found), EQUAL)

    def with_weights(self, weights: list[ValueDifference]) -> RunComparison:
        """The same with differences of weights."""
        return replace(self, weights=weights)

    def as_data(self) -> dict[str, Any]:
        """The comparison for JSON, where an infinite distance is null."""
        stages = [{**asdict(stage), "verdict": stage.verdict} for stage in self.stages]
        numbers = [number for stage in stages for number in stage["files"]]
        for file in numbers:
            file["distance"] = file["distance"] if math.isfinite(file["distance"]) else None
        first = self.first.address if self.first else None
        return {
            "verdict": self.verdict, "tolerance": TOLERANCE, "first": first, "stages": stages,
            "unrecorded": self.unrecorded, "prints": [asdict(each) for each in self.weights],
        }  # fmt: skip


def read_lock(path: Path | None) -> Lock:
    """The stages of a dvc.lock; empty where there is no file."""
    lock: Any = read_yaml(path) if path is not None and path.exists() else {}
    return dict((lock or {}).get("stages") or {})


def compare_locks(
    then: Lock,
    now: Lock,
    *,
    order: Sequence[str],
    root: Path,
    find_original: FindOriginal,
    moved: Mapping[str, str],
) -> RunComparison:
    """Compare the outputs of a repeated run with the original ones.

    Args:
        then: the stages of the original dvc.lock.
        now: the stages of the repeated run's dvc.lock.
        order: addresses of the stages to compare, in the graph's order.
        root: the checkout of the repeated run.
        find_original: gives a file with the original content of an output.
        moved: path of a data set in the repeated run -> its path in the original.
    """
    files = _Files(root, find_original)
    known = [address for address in order if address in then]
    stages = [_compare_stage(address, then[address], now.get(address, {}), files, moved) for address in known]
    return RunComparison(stages, [address for address in order if address in now and address not in then])


def _compare_stage(
    address: str, then: Mapping[str, Any], now: Mapping[str, Any], files: _Files, moved: Mapping[str, str]
) -> StageComparison:
    before, after = hashes(then, "outs"), hashes(now, "outs")
    changed = [files.compare(path, md5, after.get(path)) for path, md5 in before.items() if md5 != after.get(path)]
    numbers = [number for file in changed if file.path.endswith(".json") for number in files.numbers(file)]
    reasons = _reasons(then, now, moved) if changed and "cmd" in then else []
    return StageComparison(address, len(before), changed, numbers, reasons)


def hashes(entry: Mapping[str, Any], part: str) -> dict[str, str]:
    """Path -> md5 in a part of a lock entry: `deps` or `outs`."""
    return {item["path"]: item["md5"] for item in entry.get(part, []) if "md5" in item}


@dataclass(frozen=True)
class _Files:
    """Original and repeated contents of outputs, compared."""

    root: Path  # of the repeated run's checkout
    find_original: FindOriginal

    def compare(self, path: str, then: str, now: str | None) -> ChangedFile:
        """A file or folder whose md5 differs."""
        if now is None or not (self.root / path).exists():
            return ChangedFile(path, then, None, math.inf)
        if then.endswith(".dir") != now.endswith(".dir"):  # a file became a folder, or the reverse
            return ChangedFile(path, then, now, math.inf)
        original = self.find_original(path, then)
        if original is None:
            return ChangedFile(path, then, now, math.inf, lost=True)
        if then.endswith(".dir"):
            return self._compare_folder(path, then, now, original)
        return ChangedFile(path, then, now, distance_of_files(original, self.root / path, path))

    def _compare_folder(self, path: str, then: str, now: str, listing: Path) -> ChangedFile:
        """The largest distance of its files; DVC stores a folder as a JSON list of the md5 of its files."""
        before = {item["relpath"]: item["md5"] for item in json.loads(listing.read_text())}
        folder = self.root / path
        after = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*") if file.is_file()}
        if before.keys() != after.keys():
            return ChangedFile(path, then, now, math.inf)
        changed = {name: md5 for name, md5 in before.items() if md5 != file_md5(after[name])}
        inner = [self.compare(f"{path}/{name}", md5, "") for name, md5 in changed.items()]
        distances = [0.0 if file.path.endswith(PAGES) else file.distance for file in inner]
        return ChangedFile(path, then, now, max(distances, default=0.0), any(file.lost for file in inner))

    def numbers(self, file: ChangedFile) -> list[ValueDifference]:
        """The values of a JSON file that differ."""
        original = self.find_original(file.path, file.then)
        if original is None or file.now is None:
            return []
        return differing_values(read_flat(original), read_flat(self.root / file.path))


def read_flat(path: Path) -> dict[str, Any]:
    """The values of a JSON file by their names; nested names and list indices are joined by slashes."""
    return _flat(json.loads(path.read_text()), "")


def _flat(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, (Mapping, list)):
        return {name: value}
    inner = value.items() if isinstance(value, Mapping) else enumerate(value)
    return {k: v for key, each in inner for k, v in _flat(each, f"{name}/{key}" if name else str(key)).items()}


def _reasons(then: Mapping[str, Any], now: Mapping[str, Any], moved: Mapping[str, str]) -> list[str]:
    """Inputs and settings of a stage that differ, each as a sentence."""
    before = hashes(then, "deps")
    after = {moved.get(path, path): md5 for path, md5 in hashes(now, "deps").items()}
    names = [path for path in dict.fromkeys([*before, *after]) if before.get(path) != after.get(path)]
    kinds = {path: "code" if path.startswith(CODE) else "data" for path in names}
    found = [f"other {kinds[path]}: {path} (md5 {before.get(path)} then, {after.get(path)} now)" for path in names]
    settings = differing_values(_settings_of(then), _with_original_paths(_settings_of(now), moved))
    return [*found, *(f"other setting: {each.name} = {each.then} then, {each.now} now" for each in settings)]


def _with_original_paths(value: Any, moved: Mapping[str, str]) -> Any:
    """Settings with each data set's path as in the original run, also within lists of cohorts.

    So absolute paths of this machine do not get into reports.
    """
    if isinstance(value, Mapping):
        return {key: _with_original_paths(inner, moved) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_original_paths(inner, moved) for inner in value]
    return moved.get(value, value) if isinstance(value, str) else value


def _settings_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    return flat_keys({key: value for file in entry.get("params", {}).values() for key, value in file.items()}, ".")
