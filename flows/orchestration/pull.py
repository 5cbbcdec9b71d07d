"""Data before a run: imports are updated and what is missing is pulled from DVC's remote, in a scheduled run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from components.base.errors import RunError
from flows.orchestration.graph import DataFile, data_files, remotes
from flows.orchestration.processes import Processes, venv_path
from flows.settings import Settings

DEADLINE_S = 86400.0
"""Seconds after which a command that fetches data is stopped."""


def pull_data(settings: Settings, processes: Processes, say: Callable[[str], None]) -> None:
    """Update imported data sets, then pull each `.dvc` file's data that are not here as recorded.

    What stages make is not pulled: a stage that lacks its output runs.

    Args:
        settings: of the study; imports are updated under the paths of its data sets.
        processes: that the run stops together.
        say: takes a line for the log.

    Raises:
        RunError: where DVC cannot fetch something, or data were changed here and not recorded with `dvc add`.
    """
    if not remotes():
        say("no remote of DVC is configured: nothing is pulled, the data are used as they are here")
        return
    roots = [settings.dataset.path, *(each.dataset.path for each in settings.external)]
    imports = [each.address for each in data_files() if each.imported and _belongs(each, roots)]
    if imports:
        _fetch("update", imports, processes, say)
    missing = [each.address for each in data_files() if not each.here]
    if missing:
        _fetch("pull", missing, processes, say)
    else:
        say("nothing to pull: the data of every .dvc file are here as recorded")


def _belongs(file: DataFile, roots: list[Path]) -> bool:
    """Whether a file's data are in one of the folders, or hold it."""
    places = [Path(path).resolve() for path in file.paths]
    return any(
        place.is_relative_to(root.resolve()) or root.resolve().is_relative_to(place)
        for place in places
        for root in roots
    )


def _fetch(verb: str, addresses: list[str], processes: Processes, say: Callable[[str], None]) -> None:
    say(f"dvc {verb} {' '.join(addresses)}")
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", verb, *addresses]
    try:
        processes.run(
            f"dvc {verb}", command, environment={"PATH": venv_path()}, deadline_s=DEADLINE_S, on_line=say
        )  # fmt: skip
    except RunError as error:
        changed = [path for path in addresses if Path(path.removesuffix(".dvc")).exists()] if verb == "pull" else []
        hint = f"; if data were changed here, record them with `dvc add` ({', '.join(changed)})" if changed else ""
        raise RunError(
            f"the data could not be brought up to date from {', '.join(remotes())}, so no stage ran: {error}\n"
            f"see why with `dvc {verb} {' '.join(addresses)}`{hint}; a run without --pull uses what is here"
        ) from error
