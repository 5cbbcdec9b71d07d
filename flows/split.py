"""Stage split: divides the accepted images into train, val and test, and proves that nothing is on two sides."""

from __future__ import annotations

from typing import Any

import pandas as pd

from components.base.errors import DataError
from components.base.files import whole
from components.base.log import Log
from components.data.kept_split import Keeping, recognise
from components.data.labels import Labels
from components.data.leaks import prove_no_leak
from components.data.records import LABELLED_SPLITS, UNLABELLED_SPLITS, Accepted, Split, check, read_records
from components.data.splits import fold_table, group_rows, split_table
from flows.settings.data import Split as SplitSettings
from flows.settings.study import Paths
from flows.stage import stage
from flows.stage_io.kept_split import kept_lines, read_kept
from flows.tracking.lineage import file_md5


@stage
def split(split: SplitSettings, labels: Labels, paths: Paths, log: Log) -> dict[str, Any]:
    """Write paths.split; DataError where a class has too few groups, LeakError where the split leaks."""
    accepted = check(read_records(paths.accepted), Accepted)
    keeping = _recognise(accepted, split)
    table = check(_divide(accepted, labels.classes, split, keeping), Split)
    prove_no_leak(table, accepted, split.group_by)
    with whole(paths.split) as part:
        table.to_csv(part, index=False, lineterminator="\n")
    log.tags({"dvc.split": file_md5(paths.split)})  # dvc.lock still has the hash of the former split
    log.line(f"{len(table)} images in {table['group'].nunique()} groups; no patient, lesion or copy is on two sides")
    kept = {} if keeping is None else {"kept_split": _count_kept(table, keeping)}
    for line in kept_lines(kept.get("kept_split")):
        log.line(line)
    return {**_count(table, labels.classes), **kept}


def _recognise(accepted: pd.DataFrame, split: SplitSettings) -> Keeping | None:
    """Where the groups stood in the split that is kept; None where none is.

    Raises:
        DataError: where the file of split.keep is missing or another one, or has no image in common with these.
    """
    if split.keep is None:
        return None
    kept = read_kept(split.keep)
    found = recognise(accepted, group_rows(accepted, split.group_by), kept, split.group_by)
    if found.homes.empty:
        raise DataError(
            f"{split.keep.file} (split.keep, params.yaml): none of its {len(kept)} images, lesions and patients is in "
            "this data set, expected a former version of it; set split.keep to null for another data set"
        )
    return found


def _divide(
    accepted: pd.DataFrame, classes: tuple[str, ...], split: SplitSettings, keeping: Keeping | None
) -> pd.DataFrame:
    if split.folds is not None:
        return fold_table(accepted, classes, split.group_by, folds=split.folds, fold=split.fold, seed=split.seed)
    fractions = {"train": split.train, "val": split.val, "test": split.test}
    homes = None if keeping is None else keeping.homes
    return split_table(accepted, classes, split.group_by, fractions, split.seed, homes)


def _count_kept(table: pd.DataFrame, keeping: Keeping) -> dict[str, Any]:
    """Lesions or patients that stayed, are new, are gone, or moved since they are now one with others."""
    groups = table.drop_duplicates("group").set_index("group")["split"]
    groups = table[table["label"].notna()].drop_duplicates("group").set_index("group")["split"].combine_first(groups)
    new = groups[~groups.index.isin(keeping.homes.index)]
    return {
        "kept": {name: int((keeping.homes == name).sum()) for name in LABELLED_SPLITS},
        "new": {name: int((new == name).sum()) for name in (*LABELLED_SPLITS, "unlabelled")},
        "missing": dict(keeping.missing),
        "moved": dict(keeping.moved),
    }


def _count(table: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, Any]:
    """Images, groups and images a class of each split."""
    names = (*LABELLED_SPLITS, *UNLABELLED_SPLITS)
    rows = {name: table[table["split"] == name] for name in names}
    return {
        "images": {name: len(part) for name, part in rows.items()},
        "groups": {name: part["group"].nunique() for name, part in rows.items()},
        "classes": {
            name: {label: int((rows[name]["label"] == label).sum()) for label in classes} for name in LABELLED_SPLITS
        },
    }


if __name__ == "__main__":
    split.main()
