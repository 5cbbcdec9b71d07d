"""Write the study's main page: the comparison, with a table of the external test sets."""

from __future__ import annotations

from collections.abc import Sequence

from components.base.files import write_text
from components.base.log import Log
from components.external_validation.summary import render_section
from components.report.places import EXTERNAL, fill
from flows.settings.data import Cohort
from flows.settings.study import Paths
from flows.stage import stage
from flows.stage_io.external_results import FOLDER, INTERNAL, read_external
from flows.stage_io.files import existing, read_json


@stage
def index(external: Sequence[Cohort], paths: Paths, log: Log) -> dict[str, int]:
    """Write index.html from comparison.html; return the number of external test sets."""
    page = existing(paths.reports / "comparison.html", "the page of the comparison; dvc repro compare makes it")
    records = read_external(external, paths)
    section = render_section(records, read_json(paths.reports / FOLDER / INTERNAL))
    path = paths.reports / "index.html"
    write_text(path, fill(page.read_text(), EXTERNAL, section, str(page)))
    log.artifact(path, "report")
    log.line(f"Look at {path}")
    return {"external_test_sets": len(records)}


if __name__ == "__main__":
    index.main()
