"""Errors of a run with private data: what may leave the host, and a file on the host with the rest.

A message that a stage prints goes to the logs of DVC and Prefect, and into Prefect's database. With
`privacy.key: secret` it is printed without the data set's own words (`DermflowError.words`), and an unexpected
exception without its message, which Python fills with the value that caused it.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from components.base.errors import DermflowError, UnusableError
from flows.tracking.checkout import real_root

FOLDER = Path(".dvc/tmp/dermflow/errors")  # ignored by git, no output of a stage


def describe_error(error: Exception, stage: str, *, private: bool) -> str:
    """The error as a stage prints it.

    Args:
        error: that ended the stage.
        stage: its name, which names the file on the host, too.
        private: whether the data set's words stay on the host.
    """
    kind = type(error).__name__
    if private and isinstance(error, UnusableError):  # its detail names a file
        place = _keep(str(error), stage)
        return f"{kind}: a file of the data set is {error.problem}; which one is in {place}, on this host only"
    if isinstance(error, DermflowError):
        if not error.words or not private:
            return f"{kind}: {error.complete}"
        return f"{kind}: {error}; the data set's own words are in {_keep(error.complete, stage)}, on this host only"
    if not private:
        return "".join(traceback.format_exception(error)).rstrip()
    place = _keep("".join(traceback.format_exception(error)), stage)
    frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    return f"{kind} in\n{frames}\nits message may hold words of the data set; it is in {place}, on this host only"


def _keep(text: str, stage: str) -> Path:
    root = real_root()  # DVC deletes its temporary copies
    folder = FOLDER if root == Path.cwd() else root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{stage}.txt"
    handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text + "\n")
    return place
