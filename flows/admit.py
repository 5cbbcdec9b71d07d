"""Stage admit: accepts an external test set, without broken images and without any image that the study uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from components.base.files import whole
from components.base.log import Log
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.leaks import prove_external
from components.data.records import read_records, write_records
from components.validation.checks import find_copies_across
from components.validation.executors import open_executor
from components.validation.quarantine import OUTSIDE_MAP, check_share, count_rules
from components.validation.settings import Scan
from components.validation.settings import Validate as ValidateSettings
from flows.settings.data import Cohort, Privacy, find_cohort
from flows.settings.study import Paths
from flows.stage import stage
from flows.stage_io.image_checks import accepted_of, check_dataset
from flows.stage_io.split_table import read_split


@stage
def admit(
    cohort: str,
    external: Sequence[Cohort],
    dataset: Adapter,
    labels: Labels,
    privacy: Privacy,
    validate: ValidateSettings,
    scan: Scan,
    paths: Paths,
    log: Log,
) -> dict[str, Any]:
    """Write the accepted rows of a cohort; LeakError where they share images, lesions or patients with the study."""
    chosen = find_cohort(cohort, external)
    theirs = chosen.dataset
    records = read_records(paths.external / f"{cohort}.records.parquet")
    cache = paths.model_copy(update={"cache": paths.cache / cohort})
    checked = check_dataset(
        records,
        dataset=theirs,
        labels=labels,
        privacy=privacy,
        settings=validate,
        scan=scan,
        paths=cache,
        log=log,
    )
    quarantine = paths.external / f"{cohort}.quarantine.csv"
    with whole(quarantine) as part:
        _with_fix_of_cohort(checked.reasons).to_csv(part, index=False, lineterminator="\n")
    on_purpose = checked.reasons["rule"].eq(OUTSIDE_MAP) & checked.reasons["value"].isin(list(chosen.excluded))
    check_share(checked.reasons[~on_purpose], len(records), validate.max_quarantined_share, str(quarantine))
    accepted = accepted_of(checked)
    ours = read_records(paths.accepted)
    split = read_split(paths.split)
    seen = ours.merge(read_records(paths.facts)[["image_id", "phash"]], on="image_id")
    log.line(f"{len(checked.usable)} images are compared with the {len(seen)} of the study")
    with open_executor(scan.workers, scan.cluster) as executor:
        pairs = find_copies_across(
            checked.usable,
            theirs.path,
            seen,
            dataset.path,
            settings=validate.near_duplicates,
            executor=executor,
            log=log,
        )
    prove_external(cohort, accepted, ours, split, pairs)
    write_records(accepted, paths.external / f"{cohort}.parquet")
    log.line(f"{len(accepted)} of {len(records)} images admitted; the study uses none of them")
    return {
        "rows": len(records),
        "accepted": len(accepted),
        "quarantined_by_rule": count_rules(checked.reasons),
    }


def _with_fix_of_cohort(reasons: pd.DataFrame) -> pd.DataFrame:
    """With another fix for unknown diagnoses, since a change of labels.schemes makes every training stale."""
    fix = "name its diagnosis of labels.schemes under external.diagnoses (params.yaml), or null to exclude it"
    return reasons.assign(fix=reasons["fix"].mask(reasons["rule"] == OUTSIDE_MAP, fix))


if __name__ == "__main__":
    admit.main()
