"""Look at every image and every row: quarantine what cannot be used, and stop for a data set that is no good."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from multiprocessing import get_context
from typing import Any

import pandas as pd

from components.datasets import Adapter
from components.duplicates import exact_groups
from components.errors import DataError
from components.expectations import Finding, accept, describe
from components.files import whole
from components.log import Log
from components.quarantine import check_share, count_rules, find_unusable
from components.records import Accepted, check, image_files, read_records, write_records
from components.scan import Facts, scan
from components.splits import group_rows
from flows.settings import Labels, Paths
from flows.settings import Split as SplitSettings
from flows.settings import Validate as ValidateSettings
from flows.stage import stage


@stage(metrics="validation")
def validate(
    dataset: Adapter, labels: Labels, split: SplitSettings, validate: ValidateSettings, paths: Paths, log: Log
) -> dict[str, Any]:
    """Records to accepted rows; raises DataError with the reasons when too many rows or the whole are unfit."""
    records = read_records(paths.records)
    with _processes(validate.workers) as executor:
        facts = scan(dataset.path, records["path"].tolist(), executor, log.track)
    reasons = find_unusable(records, facts, labels.classes, validate.min_side)
    seen = records.merge(facts, on="path", how="left").set_axis(records.index)
    good = seen.drop(index=reasons.index.unique())
    orphans = sorted(set(image_files(dataset.path)) - set(records["path"]))
    _write(seen, good, reasons, paths, log)
    _tell_orphans(orphans, log)
    check_share(reasons, len(records), validate.max_quarantined_share, str(paths.quarantine))
    findings = _accept(good, labels.classes, split, validate, paths, log)
    counts = {"rows": len(records), "accepted": len(good), "quarantined": reasons.index.nunique()}
    return {
        **counts,
        "quarantined_by_rule": count_rules(reasons),
        "orphans": len(orphans),
        "exact_duplicate_groups": exact_groups(good)["sha256"].nunique(),
        "classes": {name: int((good["label"] == name).sum()) for name in labels.classes},
        "unlabelled": int(good["label"].isna().sum()),
        "expectations": {finding["measure"]: _outcome(finding) for finding in findings},
    }


@contextmanager
def _processes(workers: int) -> Iterator[Executor | None]:
    """Fresh processes, because a fork of one with threads can hang; none for a single worker."""
    if workers == 1:
        yield None
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) as executor:
        yield executor


def _write(seen: pd.DataFrame, good: pd.DataFrame, reasons: pd.DataFrame, paths: Paths, log: Log) -> None:
    """All three tables, before anything can stop the run: the quarantine is what a person then reads."""
    with whole(paths.quarantine) as part:
        reasons.to_csv(part, index=False, lineterminator="\n")
    log.artifact(paths.quarantine)
    facts = seen[["image_id", *(field.name for field in fields(Facts))]]
    write_records(facts, paths.facts)
    accepted = good[list(Accepted.columns)].astype({"width": "int64", "height": "int64"})
    write_records(check(accepted, Accepted), paths.accepted)


def _tell_orphans(orphans: Sequence[str], log: Log) -> None:
    if orphans:
        log.line(f"{len(orphans)} image files have no row and are left out, first {orphans[0]}")


def _accept(
    good: pd.DataFrame,
    classes: Sequence[str],
    split: SplitSettings,
    limits: ValidateSettings,
    paths: Paths,
    log: Log,
) -> list[Finding]:
    """What Great Expectations found; a failed expectation stops the run, its Data Docs are there all the same."""
    if good.empty:
        raise DataError(f"no row is left to learn from; {paths.quarantine} says why")
    table = good.assign(group=group_rows(good, split.group_by))
    findings = accept(table, classes, limits.min_groups_per_class, limits.max_missing_share, paths.docs)
    log.artifact(paths.docs)
    failed = [describe(finding) for finding in findings if not finding["success"]]
    if failed:
        page = next(paths.docs.glob("validations/**/*.html"))  # the index lists it by a script from the network
        raise DataError(f"the data set is not accepted (see {page})\n" + "\n".join(failed))
    return findings


def _outcome(finding: Finding) -> dict[str, object]:
    return {name: finding[name] for name in ("expected", "observed", "success")}


if __name__ == "__main__":
    validate.main()
