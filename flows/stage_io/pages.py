"""Pages as files: each says on which day, from which commit and by which version it was made.

The day is that of the commit and not of the clock, so that the same commit gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from components.base.files import write_text
from components.base.log import Log
from components.report.places import stamp
from flows.stage_io.version import PROJECT, read_version
from flows.tracking.git import describe_commit

DIGITS = 12
"""Of a commit and of a hash that is shown."""


def write_page(path: Path, page: str, log: Log, *, model: str = "", artifacts: str = "report") -> None:
    """Write a page and keep it in the run.

    Args:
        path: where it goes; its folder is made where it does not exist.
        page: HTML that loads nothing from the network.
        log: the run.
        model: name and version of the model that the page is about; empty where it is about several or none.
        artifacts: the folder in MLflow that holds the page.
    """
    write_text(path, stamp(page, _made(model)))
    log.artifact(path, artifacts)


def _made(model: str) -> str:
    made = describe_commit(Path.cwd())
    version = f"Dermflow {read_version()}" if PROJECT.is_file() else "Dermflow"
    commit = f"commit {made.sha[:DIGITS]} of {made.date}" if made.sha else "a commit that is not known"
    changes = ", with changes that are in no commit" if made.changed else ""
    return f"Made with {version} from {commit}{changes}.{f' Model: {model}.' if model else ''}"
