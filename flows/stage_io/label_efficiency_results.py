"""Results of label efficiency, for the stage that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.base.run_id import FinetuneProtocol
from flows.settings.study import Paths
from flows.stage_io.files import read_json

LABEL_EFFICIENCY = "label_efficiency"  # below paths.reports
ALL_LESIONS = "all-lesions.json"  # the arms with all train lesions; no protocol has this name


def read_label_efficiency(protocols: Sequence[FinetuneProtocol], paths: Paths) -> dict[str, dict[str, Any]]:
    """The record of each protocol that params.yaml names; others in the folder are older."""
    return {str(each): read_json(paths.reports / LABEL_EFFICIENCY / f"{each}.json") for each in protocols}
