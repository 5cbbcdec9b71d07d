"""Let an external test set in: sound images, and none of what is learned from among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from components.base.files import whole
from components.base.log import Log
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.records import apply_labels, read_records, write_records
from components.data.splits import prove_external
from components.validation.checks import find_across
from components.validation.executors import open_executor
from components.validation.quarantine import OUTSIDE_MAP, check_share, count_rules
from flows.settings.data import Cohort, Privacy, Scan, choose
from flows.settings.data import Validate as ValidateSettings
from flows.settings.study import Paths
from flows.stage import stage
from flows.stage_io.datasets import read_dataset
from flows.stage_io.image_checks import accepted_of, look_at, rules_of
from flows.stage_io.pseudonym_key import read_key


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
    """Write its accepted rows; raises LeakError where they overlap with what is learned from or chosen on."""
    chosen = choose(cohort, external)
    theirs = chosen.dataset
    records = apply_labels(read_dataset(theirs, labels, privacy, read_key(privacy)), chosen.mapping(labels))
    cache = paths.model_copy(update={"cache": paths.cache / cohort})
    look = look_at(records, theirs, labels, validate, scan, cache, log)
    quarantine = paths.external / f"{cohort}.quarantine.csv"
    with whole(quarantine) as part:
        _mended_here(look.reasons).to_csv(part, index=False, lineterminator="\n")
    on_purpose = look.reasons["rule"].eq(OUTSIDE_MAP) & look.reasons["value"].isin(list(chosen.left_out))
    check_share(look.reasons[~on_purpose], len(records), validate.max_quarantined_share, str(quarantine))
    accepted = accepted_of(look)
    ours = read_records(paths.accepted)
    split = pd.read_csv(paths.split, dtype="str", keep_default_na=False, na_values=[""])
    seen = ours.merge(read_records(paths.facts)[["image_id", "phash"]], on="image_id")
    with open_executor(scan.workers, scan.cluster) as executor:
        pairs = find_across(look.good, theirs.path, seen, dataset.path, rules_of(validate), executor)
    prove_external(cohort, accepted, ours, split, pairs)
    write_records(accepted, paths.external / f"{cohort}.parquet")
    log.line(f"{len(accepted)} of {len(records)} images admitted; none is learned from or chosen on")
    return {"rows": len(records), "accepted": len(accepted), "quarantined_by_rule": count_rules(look.reasons)}


def _mended_here(reasons: pd.DataFrame) -> pd.DataFrame:
    """A foreign word has a nearer place than labels.schemes, whose change makes every training stale."""
    mend = "say under external.diagnoses (params.yaml) which diagnosis of labels.schemes it is, or null: left out"
    return reasons.assign(mend=reasons["mend"].mask(reasons["rule"] == OUTSIDE_MAP, mend))


if __name__ == "__main__":
    admit.main()
