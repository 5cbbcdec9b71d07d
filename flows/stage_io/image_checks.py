"""One look at a data set's images with the settings of params.yaml, for every stage that lets images in."""

from __future__ import annotations

import pandas as pd

from components.base.log import Log
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.records import Accepted, check
from components.validation.checks import Look, Rules, examine
from components.validation.executors import open_executor
from flows.settings.data import Scan, Validate
from flows.settings.study import Paths


def look_at(
    records: pd.DataFrame,
    dataset: Adapter,
    labels: Labels,
    limits: Validate,
    scan: Scan,
    paths: Paths,
    log: Log,
) -> Look:
    """`gate.examine` as params.yaml has it."""
    with open_executor(scan.workers, scan.cluster) as executor:
        return examine(records, dataset.path, labels.classes, rules_of(limits), executor, paths.cache, log)


def rules_of(limits: Validate) -> Rules:
    """What concerns single images and their copies."""
    return Rules(limits.min_side, limits.admit, limits.near_duplicates.distance, limits.near_duplicates.crops)


def accepted_of(look: Look) -> pd.DataFrame:
    """The rows that are let through; DataError where a contract that people cannot overrule is broken."""
    accepted = look.good[list(Accepted.columns)].astype({"width": "int64", "height": "int64"})
    return check(accepted, Accepted)
