"""Compare the results of two checkouts: whether a change of the code changed them.

After a change that should alter nothing, run the same settings before and after and compare: weights, curves and
predictions must be equal to the last bit, metrics up to TOLERANCE. Values that only one side has are listed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML

from components.base.errors import DataError
from flows.reproduction.compare_runs import read_flat
from flows.reproduction.differences import ValueDifference, differing_values, distance_of_files
from flows.settings import PARAMS, read_yaml
from flows.tracking.lineage import LOCK

TOLERANCE = 1e-12  # of a distance, see `differences`: one more or one less rounding of a sum
EXACT = ("pixels", "encoders", "classifiers", "predictions", "curves")
"""Names under paths (params.yaml) whose files must be equal to the last bit."""


@dataclass(frozen=True)
class ComparedFile:
    """One file that both checkouts hold."""

    path: str
    exact: bool  # whether equality to the last bit is expected
    distance: float  # 0: equal; infinite: more than digits differ
    numbers: tuple[ValueDifference, ...] = ()  # numbers of a metrics file that are further apart than the tolerance
    one_sided: tuple[str, ...] = ()  # names of values that only one side has, and texts that differ
    renumbered: bool = False  # a curve that differs only in that its epochs count from 0 there and from 1 here

    @property
    def equal(self) -> bool:
        """Whether the file is as equal as is expected of its kind."""
        return self.distance == 0 if self.exact else not self.numbers


@dataclass(frozen=True)
class ComparedCheckouts:
    """All results of two checkouts."""

    files: tuple[ComparedFile, ...]
    missing: tuple[str, ...]  # paths that only one checkout holds

    @property
    def equal(self) -> bool:
        """Whether every file is as equal as is expected of its kind, and none is missing."""
        return not self.missing and all(file.equal for file in self.files)

    def lines(self) -> list[str]:
        """The comparison for the terminal, what differs first."""
        exact = [file for file in self.files if file.exact]
        metrics = [file for file in self.files if not file.exact]
        found = [f"only one checkout has {path}" for path in self.missing]
        for file in self.files:
            if not file.equal:
                found.append(f"{file.path}: distance {file.distance:.3g}")
                found += [f"  {each.name}: {each.then!r} there, {each.now!r} here" for each in file.numbers[:5]]
            if file.one_sided:
                found.append(f"{file.path}: texts or names differ: {', '.join(file.one_sided[:8])}")
        furthest = max((file.distance for file in metrics if math.isfinite(file.distance)), default=0.0)
        if renumbered := sum(file.renumbered for file in self.files):
            found.append(f"{renumbered} curves count epochs from 0 there and from 1 here; that is no difference")
        equal, near = sum(file.equal for file in exact), sum(file.equal for file in metrics)
        return [
            *found,
            f"{equal} of {len(exact)} files of weights, pixels, curves and predictions are equal to the last bit",
            f"{near} of {len(metrics)} metrics files are equal within {TOLERANCE:g}; the largest distance of a number "
            f"is {furthest:.2g}",
        ]


def compare_checkouts(there: Path, here: Path) -> ComparedCheckouts:
    """Compare the results of two checkouts that ran the same settings.

    Args:
        there: the root of the other checkout, usually the one before a change.
        here: the root of this one.

    Raises:
        DataError: where a checkout has no finished run.
    """
    before, after = (_results(root) for root in (there, here))
    both = [path for path in before if path in after]
    files: list[ComparedFile] = []
    for path in both:  # curves come before metrics
        renumbered = any(file.renumbered for file in files)
        files.append(_compare(path, there, here, exact=before[path], renumbered=renumbered))
    return ComparedCheckouts(
        files=tuple(files),
        missing=tuple(sorted(before.keys() ^ after.keys())),
    )


def _results(root: Path) -> dict[str, bool]:
    """Every file of weights, curves, predictions and metrics in a checkout; True where bits must be equal."""
    if not (root / LOCK).is_file():
        raise DataError(f"{root / LOCK} is missing, expected a checkout in which a study was run: `dermflow run` there")
    paths = read_yaml(root / PARAMS)["paths"]  # type: ignore[index]  # a mapping, as every params.yaml
    outs = list(_outs(root))
    found: dict[str, bool] = {}
    for name in (*EXACT, "metrics"):
        home = paths[name]
        files = [file for out in outs if Path(out).is_relative_to(home) for file in _files(root, out)]
        found |= dict.fromkeys(sorted(files), name != "metrics")
    return found


def _outs(root: Path) -> Iterator[str]:
    """Paths of all outputs that dvc.lock records."""
    for entry in YAML(typ="safe").load((root / LOCK).read_text("utf-8"))["stages"].values():
        yield from (str(out["path"]) for out in entry.get("outs", ()))


def _files(root: Path, out: str) -> Iterable[str]:
    path = root / out
    inner = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return [file.relative_to(root).as_posix() for file in inner]


def _compare(path: str, there: Path, here: Path, *, exact: bool, renumbered: bool) -> ComparedFile:
    old, new = there / path, here / path
    if old.read_bytes() == new.read_bytes():
        return ComparedFile(path, exact, 0.0)
    if exact:
        if _from_one(old) == new.read_bytes():
            return ComparedFile(path, exact, 0.0, renumbered=True)
        return ComparedFile(path, exact, distance_of_files(old, new, path) or math.inf)
    pairs = differing_values(read_flat(old), read_flat(new))
    pairs = [pair for pair in pairs if not (renumbered and _is_renumbered(pair))]
    numbers = [pair for pair in pairs if _both_numbers(pair)]
    return ComparedFile(
        path,
        exact,
        max((pair.distance for pair in numbers), default=0.0),
        tuple(pair for pair in numbers if pair.distance > TOLERANCE),
        tuple(pair.name for pair in pairs if not _both_numbers(pair)),
    )


def _from_one(curve: Path) -> bytes:
    """The bytes of a curve with its epochs counted from 1, where an earlier version counted from 0; else nothing."""
    head, *rows = curve.read_bytes().splitlines(keepends=True)
    if not (head.startswith(b"epoch,") and rows and rows[0].startswith(b"0,")):
        return b""
    return head + b"".join(b"%d,%s" % (int(number) + 1, rest) for number, rest in (row.split(b",", 1) for row in rows))


def _is_renumbered(pair: ValueDifference) -> bool:
    """Whether a number differs as the same epoch does, counted from 0 and from 1."""
    return pair.name == "best_epoch" and _both_numbers(pair) and bool(pair.now == pair.then + 1)


def _both_numbers(pair: ValueDifference) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in (pair.then, pair.now))
