"""Stage split: divides the accepted images into train, val and test, and proves that nothing is on two sides."""

from __future__ import annotations

from typing import Any

import pandas as pd

from components.base.files import whole
from components.base.log import Log
from components.data.labels import Labels
from components.data.leaks import prove_no_leak
from components.data.records import LABELLED_SPLITS, UNLABELLED_SPLITS, Accepted, Split, check, read_records
from components.data.splits import fold_table, split_table
from flows.settings.data import Split as SplitSettings
from flows.settings.study import Paths
from flows.stage import stage
from flows.tracking.lineage import file_md5


@stage
def split(split: SplitSettings, labels: Labels, paths: Paths, log: Log) -> dict[str, Any]:
    """Write paths.split; DataError where a class has too few groups, LeakError where the split leaks."""
    accepted = check(read_records(paths.accepted), Accepted)
    table = check(_divide(accepted, labels.classes, split), Split)
    prove_no_leak(table, accepted, split.group_by)
    with whole(paths.split) as part:
        table.to_csv(part, index=False, lineterminator="\n")
    log.tags({"dvc.split": file_md5(paths.split)})  # dvc.lock still has the hash of the former split
    log.line(f"{len(table)} images in {table['group'].nunique()} groups; no patient, lesion or copy is on two sides")
    return _count(table, labels.classes)


def _divide(accepted: pd.DataFrame, classes: tuple[str, ...], split: SplitSettings) -> pd.DataFrame:
    if split.folds is not None:
        return fold_table(accepted, classes, split.group_by, folds=split.folds, fold=split.fold, seed=split.seed)
    fractions = {"train": split.train, "val": split.val, "test": split.test}
    return split_table(accepted, classes, split.group_by, fractions, split.seed)


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
