"""Look at every image and every row: quarantine what cannot be used, and stop for a data set that is no good."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from components.base.errors import DataError
from components.base.files import whole
from components.base.log import Log
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.records import read_records, write_records
from components.data.sources import list_images
from components.data.splits import group_rows
from components.validation.checks import Look
from components.validation.data_profile import profile
from components.validation.duplicates import exact_groups, identical_pairs, review
from components.validation.expectations import Finding, accept, describe
from components.validation.page import Gate, identifying, write_page
from components.validation.quarantine import check_share, count_rules, for_sharing
from components.validation.scan import Facts
from flows.settings.data import Scan
from flows.settings.data import Split as SplitSettings
from flows.settings.data import Validate as ValidateSettings
from flows.settings.study import Paths
from flows.stage import stage
from flows.stage_io.image_checks import accepted_of, look_at
from flows.tracking.lineage import read_revision

PAGE = "data.html"


@stage(metrics="validation")
def validate(
    dataset: Adapter,
    labels: Labels,
    split: SplitSettings,
    validate: ValidateSettings,
    scan: Scan,
    paths: Paths,
    log: Log,
) -> dict[str, Any]:
    """Records to accepted rows; raises DataError with the reasons when too many rows or the whole are unfit.

    Tables and page are written before anything can stop the run: they are what a person then reads.
    """
    records = read_records(paths.records)
    look = look_at(records, dataset, labels, validate, scan, paths, log)
    accepted = accepted_of(look)
    _write(look, accepted, paths, log)
    groups = group_rows(look.good, split.group_by)
    gate = _gate(look, accepted, labels.classes, dataset, paths)
    try:
        check_share(look.reasons, len(records), validate.max_quarantined_share, str(paths.quarantine))
        findings = _accept(look.good.assign(group=groups), labels.classes, validate, paths)
        gate = replace(gate, findings=findings)
    finally:
        _show(gate, dataset, paths, log)
    _refuse(findings, paths)
    _tell(look, gate, log)
    return {
        **_count(look, gate),
        "profile": profile(look.good.assign(group=groups), labels.classes),
        "expectations": {finding["measure"]: _outcome(finding) for finding in findings},
    }


def _write(look: Look, accepted: pd.DataFrame, paths: Paths, log: Log) -> None:
    with whole(paths.quarantine) as part:
        look.reasons.to_csv(part, index=False, lineterminator="\n")
    with TemporaryDirectory() as folder:
        shared = Path(folder) / paths.quarantine.name
        for_sharing(look.reasons).to_csv(shared, index=False, lineterminator="\n")
        log.artifact(shared)
    write_records(look.seen[["image_id", *(field.name for field in fields(Facts))]], paths.facts)
    write_records(accepted, paths.accepted)


def _gate(look: Look, accepted: pd.DataFrame, classes: Sequence[str], dataset: Adapter, paths: Paths) -> Gate:
    """What the page shows, before the acceptance."""
    orphans = set(list_images(dataset.path)) - set(look.seen["path"])
    pairs = pd.concat([identical_pairs(look.good), look.pairs], ignore_index=True)
    return Gate(
        seen=look.seen,
        accepted=accepted,
        quarantine=look.reasons,
        by_hand=look.by_hand,
        review=review(look.good, pairs),
        findings=[],
        classes=classes,
        orphans=len(orphans),
        quarantine_file=str(paths.quarantine),
        docs=str(paths.docs),
    )


def _show(gate: Gate, dataset: Adapter, paths: Paths, log: Log) -> None:
    write_page(gate, dataset.path, paths.reports / PAGE)
    log.artifact(paths.reports / PAGE)
    log.artifact(paths.docs)


def _accept(good: pd.DataFrame, classes: Sequence[str], limits: ValidateSettings, paths: Paths) -> list[Finding]:
    """What Great Expectations found, and its Data Docs."""
    if good.empty:
        raise DataError(f"no row is left to learn from; {paths.quarantine} says why")
    reference = _read_reference(limits.reference, paths)
    return accept(
        good, classes, limits.min_groups_per_class, limits.max_missing_share, paths.docs, limits.limits, reference
    )


def _read_reference(reference: str | None, paths: Paths) -> Mapping[str, Any] | None:
    """The profile of the accepted version that is named: a file, or this repository's own at a git revision."""
    if reference is None:
        return None
    metrics = f"{paths.metrics}/validation.json"
    file = Path(reference)
    text = file.read_text() if file.is_file() else read_revision(reference, metrics)
    try:
        return dict(json.loads(text or "")["profile"])
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"validate.reference = {reference!r} (params.yaml) is no accepted version: expected a validation.json, or "
            f"a git revision in which {metrics} is committed and has a profile"
        ) from None


def _refuse(findings: Sequence[Finding], paths: Paths) -> None:
    failed = [describe(finding) for finding in findings if not finding["success"]]
    if failed:
        raise DataError(f"the data set is not accepted (see {paths.docs / 'index.html'})\n" + "\n".join(failed))


def _tell(look: Look, gate: Gate, log: Log) -> None:
    """One line each for what a person should know of a data set that passed."""
    log.line(f"{len(look.good)} of {len(look.seen)} images accepted, {look.anew} of them looked at anew")
    if gate.orphans:
        log.line(f"{gate.orphans} image files have no row and are left out")
    if len(look.by_hand):
        log.line(f"{len(look.by_hand)} reasons were overruled by hand ({count_rules(look.by_hand)})")
    if len(gate.review):
        log.line(f"{len(gate.review)} pairs show one picture under two names: look at them in {PAGE}")


def _count(look: Look, gate: Gate) -> dict[str, Any]:
    good = look.good
    return {
        "rows": len(look.seen),
        "accepted": len(good),
        "quarantined": look.reasons.index.nunique(),
        "quarantined_by_rule": count_rules(look.reasons),
        "accepted_by_hand": count_rules(look.by_hand),
        "orphans": gate.orphans,
        "exact_duplicate_groups": exact_groups(good)["sha256"].nunique(),
        "near_duplicate_pairs": len(look.pairs),
        "near_duplicate_groups": int(good["twins"].nunique()),
        "pairs_to_review": len(gate.review),
        "files_that_could_identify": identifying(look.seen),
        "classes": {name: int((good["label"] == name).sum()) for name in gate.classes},
        "unlabelled": int(good["label"].isna().sum()),
    }


def _outcome(finding: Finding) -> dict[str, object]:
    return {name: finding[name] for name in ("expected", "observed", "success")}


if __name__ == "__main__":
    validate.main()
