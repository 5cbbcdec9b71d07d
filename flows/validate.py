"""Stage validate: quarantine images and rows that cannot be used, and stop for a data set that is not acceptable."""

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
from components.data.folder_account import WITHOUT_ROW
from components.data.labels import Labels
from components.data.records import read_records, write_records
from components.data.splits import group_rows
from components.validation.checks import CheckedImages
from components.validation.data_profile import profile
from components.validation.duplicate_groups import exact_groups, identical_pairs, review
from components.validation.expectations import ExpectationResult, accept, describe
from components.validation.image_facts import ImageFacts
from components.validation.page import ImageLookup, ValidationReport, identifying, render
from components.validation.quarantine import check_share, count_rules, for_page, for_sharing
from components.validation.settings import Scan
from components.validation.settings import Validate as ValidateSettings
from flows.settings.data import Privacy
from flows.settings.data import Split as SplitSettings
from flows.settings.study import Paths
from flows.stage import stage
from flows.stage_io.datasets import read_report
from flows.stage_io.image_checks import accepted_of, check_dataset
from flows.stage_io.pages import write_page
from flows.tracking.git import read_revision

PAGE = "data.html"


@stage(metrics="validation")
def validate(
    dataset: Adapter,
    labels: Labels,
    privacy: Privacy,
    split: SplitSettings,
    validate: ValidateSettings,
    scan: Scan,
    paths: Paths,
    log: Log,
) -> dict[str, Any]:
    """Records to accepted rows. Tables and page are written before an error, since a person needs them to fix it.

    Raises:
        DataError: too many rows cannot be used, or the data set as a whole is not accepted; names the reasons.
    """
    records = read_records(paths.records)
    checked = check_dataset(
        records,
        dataset=dataset,
        labels=labels,
        privacy=privacy,
        settings=validate,
        scan=scan,
        paths=paths,
        log=log,
    )
    accepted = accepted_of(checked)
    _write_tables(checked, accepted, paths, log)
    usable = checked.usable.assign(group=group_rows(checked.usable, split.group_by))
    report = _report(checked, accepted, labels.classes, privacy=privacy, paths=paths)
    try:
        check_share(checked.reasons, len(records), validate.max_quarantined_share, str(paths.quarantine))
        outcomes = _accept(usable, labels.classes, validate, paths)
        report = replace(report, outcomes=outcomes)
    finally:
        _publish(report, dataset, paths, log)
    _raise_if_failed(outcomes, paths)
    _log_summary(checked, report, log)
    return {
        **_count(checked, report),
        "profile": profile(usable, labels.classes),
        "expectations": {outcome["measure"]: _for_metrics(outcome) for outcome in outcomes},
    }


def _write_tables(checked: CheckedImages, accepted: pd.DataFrame, paths: Paths, log: Log) -> None:
    with whole(paths.quarantine) as part:
        checked.reasons.to_csv(part, index=False, lineterminator="\n")
    with TemporaryDirectory() as folder:
        shared = Path(folder) / paths.quarantine.name
        for_sharing(checked.reasons).to_csv(shared, index=False, lineterminator="\n")
        log.artifact(shared)
    write_records(checked.rows[["image_id", *(field.name for field in fields(ImageFacts))]], paths.facts)
    write_records(accepted, paths.accepted)


def _report(
    checked: CheckedImages,
    accepted: pd.DataFrame,
    classes: Sequence[str],
    *,
    privacy: Privacy,
    paths: Paths,
) -> ValidationReport:
    """The page's content before the acceptance."""
    read = read_report(paths.read_report)
    pairs = pd.concat([identical_pairs(checked.usable), checked.pairs], ignore_index=True)
    return ValidationReport(
        rows=checked.rows,
        accepted=accepted,
        quarantine=for_page(checked.reasons, private=privacy.key == "secret"),
        overruled=checked.overruled,
        review=review(checked.usable, pairs),
        outcomes=[],
        classes=classes,
        orphans=read.files.get(WITHOUT_ROW, 0),
        quarantine_file=str(paths.quarantine),
        read=read,
        with_examples=privacy.key == "public",
        read_file=str(paths.read_report),
        docs=str(paths.docs),
    )


def _publish(report: ValidationReport, dataset: Adapter, paths: Paths, log: Log) -> None:
    log.line(f"data page: {paths.reports / PAGE}")
    write_page(paths.reports / PAGE, render(report, ImageLookup(report.rows, dataset.path)), log, artifacts="")
    log.artifact(paths.docs)


def _accept(
    usable: pd.DataFrame, classes: Sequence[str], settings: ValidateSettings, paths: Paths
) -> list[ExpectationResult]:
    """The outcomes of Great Expectations, which also writes its Data Docs."""
    if usable.empty:
        raise DataError(f"no row can be used; {paths.quarantine} has the reasons")
    return accept(
        usable,
        classes,
        paths.docs,
        min_groups=settings.min_groups_per_class,
        max_missing=settings.max_missing_share,
        limits=settings.limits,
        reference=_read_reference(settings.reference, paths),
    )


def _read_reference(reference: str | None, paths: Paths) -> Mapping[str, Any] | None:
    """The profile of the accepted version: of a file, or of this repository at a git revision."""
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


def _raise_if_failed(outcomes: Sequence[ExpectationResult], paths: Paths) -> None:
    failed = [describe(outcome) for outcome in outcomes if not outcome["success"]]
    if failed:
        raise DataError(f"the data set is not accepted (see {paths.docs / 'index.html'})\n" + "\n".join(failed))


def _log_summary(checked: CheckedImages, report: ValidationReport, log: Log) -> None:
    """One line for each fact that a person should know about an accepted data set."""
    log.line(f"{len(checked.usable)} of {len(checked.rows)} images accepted, {checked.decoded} decoded in this run")
    if report.orphans:
        log.line(f"{report.orphans} image files have no row and are left out")
    if len(checked.overruled):
        log.line(f"{len(checked.overruled)} reasons were overruled by hand ({count_rules(checked.overruled)})")
    if len(report.review):
        log.line(f"{len(report.review)} pairs show the same picture but differ in label, patient or lesion: see {PAGE}")


def _count(checked: CheckedImages, report: ValidationReport) -> dict[str, Any]:
    usable = checked.usable
    return {
        "rows": len(checked.rows),
        "accepted": len(usable),
        "quarantined": checked.reasons.index.nunique(),
        "quarantined_by_rule": count_rules(checked.reasons),
        "accepted_by_hand": count_rules(checked.overruled),
        "orphans": report.orphans,
        "exact_duplicate_groups": exact_groups(usable)["sha256"].nunique(),
        "near_duplicate_pairs": len(checked.pairs),
        "near_duplicate_groups": int(usable["twins"].nunique()),
        "pairs_to_review": len(report.review),
        "files_that_could_identify": identifying(checked.rows),
        "classes": {name: int((usable["label"] == name).sum()) for name in report.classes},
        "unlabelled": int(usable["label"].isna().sum()),
    }


def _for_metrics(outcome: ExpectationResult) -> dict[str, object]:
    return {name: outcome[name] for name in ("expected", "observed", "success")}


if __name__ == "__main__":
    validate.main()
