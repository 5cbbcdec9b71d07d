"""The image checks of a data set with the settings of params.yaml, for every stage that admits images."""

from __future__ import annotations

import pandas as pd

from components.base.log import Log
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.records import Accepted, check
from components.validation.checks import CheckedImages, check_images
from components.validation.executors import open_executor
from components.validation.settings import Scan, Validate
from flows.settings.study import Paths


def check_dataset(
    records: pd.DataFrame,
    *,
    dataset: Adapter,
    labels: Labels,
    settings: Validate,
    scan: Scan,
    paths: Paths,
    log: Log,
) -> CheckedImages:
    """`checks.check_images` of the data set's folder, on this host or on the cluster of `scan`."""
    with open_executor(scan.workers, scan.cluster) as executor:
        return check_images(
            records, dataset.path, labels.classes, settings, executor=executor, cache=paths.cache, log=log
        )


def accepted_of(checked: CheckedImages) -> pd.DataFrame:
    """The usable rows with Accepted's columns; DataError where they break its rules, which cannot be overridden."""
    accepted = checked.usable[list(Accepted.columns)].astype({"width": "int64", "height": "int64"})
    return check(accepted, Accepted)
