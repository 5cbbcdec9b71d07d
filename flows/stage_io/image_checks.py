"""The image checks of a data set with the settings of params.yaml, for every stage that admits images."""

from __future__ import annotations

import pandas as pd

from components.base.log import Log
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.records import Accepted, check
from components.validation.accepted_by_hand import ACCEPTED_BY_HAND
from components.validation.checks import CheckedImages, check_images
from components.validation.executors import open_executor
from components.validation.settings import Scan, Validate
from flows.settings.data import Privacy
from flows.settings.study import Paths
from flows.stage_io.pseudonym_key import read_key


def check_dataset(
    records: pd.DataFrame,
    *,
    dataset: Adapter,
    labels: Labels,
    privacy: Privacy,
    settings: Validate,
    scan: Scan,
    paths: Paths,
    log: Log,
) -> CheckedImages:
    """`checks.check_images` of the data set's folder, on this host or on the cluster of `scan`."""
    names_images = privacy.key == "secret" and (dataset.path / ACCEPTED_BY_HAND).is_file()
    key = read_key(privacy) if names_images else None  # only there the data set's own ids are compared with pseudonyms
    with open_executor(scan.workers, scan.cluster) as executor:
        return check_images(
            records, dataset.path, labels.classes, settings, key=key, executor=executor, cache=paths.cache, log=log
        )


def accepted_of(checked: CheckedImages) -> pd.DataFrame:
    """The usable rows with Accepted's columns; DataError where they break its rules, which cannot be overridden."""
    accepted = checked.usable[list(Accepted.columns)].astype({"width": "int64", "height": "int64"})
    return check(accepted, Accepted)
