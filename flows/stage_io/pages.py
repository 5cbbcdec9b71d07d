"""Pages as files: each says on which day and from which commit it was made, and some by which version.

The version is on the pages whose stage has pyproject.toml among its deps: the others are not made again for it.

The day is that of the commit and not of the clock, so that the same commit gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from components.base.files import write_text
from components.base.log import Log
from components.report.places import stamp
from flows.tracking.git import describe_commit

DIGITS = 12
"""Of a commit and of a hash that is shown."""


def write_page(
    path: Path, page: str, log: Log, *, model: str = "", version: str = "", artifacts: str = "report"
) -> None:
    """Write a page and keep it in the run.

    Args:
        path: where it goes; its folder is made where it does not exist.
        page: HTML that loads nothing from the network.
        log: the run.
        model: name and version of the model that the page is about; empty where it is about several or none.
        version: of Dermflow, for a stage that depends on it; empty for others.
        artifacts: the folder in MLflow that holds the page.
    """
    write_text(path, stamped(page, path, model=model, version=version))
    log.artifact(path, artifacts)


def stamped(page: str, path: Path, *, model: str = "", version: str = "") -> str:
    """The page with the sentence that says from what it was made; arguments as for `write_page`."""
    made = describe_commit(Path.cwd())
    maker = f"Dermflow {version}".rstrip()
    commit = f"commit {made.sha[:DIGITS]} of {made.date}" if made.sha else "a commit that is not known"
    changes = ", with changes that are in no commit" if made.changed else ""
    return stamp(page, f"Made with {maker} from {commit}{changes}.{f' Model: {model}.' if model else ''}", str(path))
