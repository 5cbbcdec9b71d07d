"""Results on external test sets, for stages that show all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flows.settings.data import Cohort
from flows.settings.study import Paths
from flows.stage_io.files import read_json

FOLDER = "external"  # below paths.reports
INTERNAL = "internal-test.json"  # the internal test beside them; no name of a cohort has a dash


def read_external(external: Sequence[Cohort], paths: Paths) -> list[dict[str, Any]]:
    """The record of each external test set that params.yaml names, in its order; others in the folder are older."""
    return [read_json(paths.reports / FOLDER / f"{cohort.name}.json") for cohort in external]
