"""`dermflow crossvalidate`: set the number of folds, and bring the folds and their pooled result up to date."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from components.base.errors import RunError
from components.base.files import write_text
from flows.orchestration.freshness import read_stages, write_graph
from flows.orchestration.processes import only_run
from flows.orchestration.repeated_study import POOL
from flows.presets import edit
from flows.settings import PARAMS, load_settings

FEWEST = 3
"""Folds: one is test, one is val, and one is left to train."""

DEFAULT = 5
"""Folds where neither the command nor params.yaml names a number."""


def crossvalidate(folds: int | None, run: Callable[[str], int]) -> int:
    """Set cross_validation.folds, write the graph, and run the stage that pools the folds with all upstream.

    Args:
        folds: their number; None for that of params.yaml, or 5 where that has none.
        run: the pipeline up to a stage; it returns the exit status.

    Returns:
        The exit status.

    Raises:
        RunError: where there are too few folds.
    """
    settings = load_settings()
    count = folds or settings.cross_validation.folds or settings.split.folds or DEFAULT
    if count < FEWEST:
        raise RunError(f"--folds is {count}, expected {FEWEST} or more: one fold is test, one is val, the others train")
    if count != settings.cross_validation.folds:
        with only_run(entry.name for entry in read_stages(Path.cwd())):
            write_text(PARAMS, edit(PARAMS.read_text("utf-8"), f"cross_validation.folds={count}"))
            write_graph(Path.cwd())
    return run(f"{POOL}@{count}")
