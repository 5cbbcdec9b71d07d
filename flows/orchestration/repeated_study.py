"""What dvc.yaml says of a cross-validation: its folds, and the code of the stages that each fold runs.

A fold repeats the stages up to `compare` in a clone. What makes one of them stale must make the fold stale, so the fold
lists their code, and dvc.yaml the sections of params.yaml that they use. `make graph` writes code and numbers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from components.base.errors import SettingsError
from flows.places import PARAMS

FOLD, POOL = "fold", "pool_folds"

REPEATED = (
    "synthesize", "ingest", "validate", "split", "pack", "method", "pretrain", "finetune", "evaluate", "compare",
)  # fmt: skip
"""The stages that a fold runs: `compare` and all upstream. A test compares with the graph."""

TARGET = REPEATED[-1]

SECTION = "cross_validation"

MATRIX = re.compile(r"^(\s+folds?): \[[^\]]*\]$")
"""The line of dvc.yaml with the items of one of the two stages; DVC cannot count from 0 to a setting."""


def matrix_items(settings: Mapping[str, Any]) -> dict[str, list[int]]:
    """The items of both stages: each fold's number, and how many are pooled; none without cross-validation."""
    count = (settings.get(SECTION) or {}).get("folds")
    return {FOLD: list(range(count or 0)), POOL: [count] if count else []}


def with_items(line: str, stage: str, settings: Mapping[str, Any]) -> str:
    """A line of dvc.yaml, with the stage's items where it is the line that holds them."""
    found = MATRIX.match(line) if stage in (FOLD, POOL) else None
    return f"{found[1]}: {matrix_items(settings)[stage]}" if found else line


def code_of_fold(
    own: Iterable[str], code: Mapping[str, Iterable[str]], settings: Mapping[str, Any], methods: str
) -> list[str]:
    """The code part of a fold's deps, sorted.

    Args:
        own: that of the stage itself.
        code: of each stage of dvc.yaml.
        settings: params.yaml as plain values.
        methods: path of an arm's pretraining method, as dvc.yaml writes it; a fold has all that arms use.
    """
    repeated = {path for name in REPEATED for path in code.get(name, ()) if path != methods}
    return sorted({*own, *repeated, *method_folders(settings, methods)})


def method_folders(settings: Mapping[str, Any], methods: str) -> list[str]:
    """The folders of the pretraining methods that arms use; `methods` as in `code_of_fold`."""
    kinds = sorted({str(arm["kind"]) for arm in settings["pretrain"]["arms"].values()})
    return [methods.replace("${item.kind}", kind) for kind in kinds]


def check_items(stage: str, content: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse another number of folds in dvc.yaml than in params.yaml.

    Args:
        stage: its name.
        content: its entry in dvc.yaml.
        settings: params.yaml as plain values.

    Raises:
        SettingsError: with the setting and the command that fixes it.
    """
    if stage not in (FOLD, POOL):
        return
    (listed,) = content["matrix"].values()
    if listed != (wanted := matrix_items(settings)[stage]):
        raise SettingsError(
            f"{SECTION}.folds is {settings[SECTION]['folds']} ({PARAMS}), but dvc.yaml has the items {listed} of "
            f"{stage}, expected {wanted}: run `make graph`"
        )
