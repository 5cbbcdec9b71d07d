"""The stage index: the main page is the comparison with the external test sets that params.yaml names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.base.errors import DataError
from components.base.log import SilentLog
from components.external_validation.record import as_record
from components.report.places import EXTERNAL, place
from flows.index import index
from flows.settings.data import Cohort
from flows.settings.study import Paths
from tests.unit.external_validation.planted_drop import assess_runs, simulate_runs
from tests.unit.external_validation.test_summary import INTERNAL


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """What compare and external_validation leave; `old` is no longer in params.yaml."""
    reports = tmp_path / "reports"
    (reports / "external").mkdir(parents=True)
    (reports / "comparison.html").write_text(f"<main><p>vae wins</p>{place(EXTERNAL)}<p>limits</p></main>")
    (reports / "external" / "internal-test.json").write_text(json.dumps(INTERNAL))
    record = as_record(assess_runs(simulate_runs({"imagenet": (2.2, 2.2), "vae": (2.6, 1.0)}), resamples=20))
    for name in ("pad", "old"):
        named = record | {"plan": record["plan"] | {"cohort": name}}
        (reports / "external" / f"{name}.json").write_text(json.dumps(named))
    return Paths.model_construct(reports=reports)


def write_index(paths: Paths, *names: str) -> tuple[str, SilentLog]:
    cohorts = [Cohort.model_validate({"name": name, "dataset": {"kind": "isic", "path": name}}) for name in names]
    log = SilentLog()
    assert index.work(external=cohorts, paths=paths, log=log) == {"external_test_sets": len(names)}
    return (paths.reports / "index.html").read_text(), log


def test_the_main_page_is_the_comparison_with_the_external_sets(paths: Paths) -> None:
    page, log = write_index(paths, "pad")
    before, _, after = page.partition('<h2 id="external">')
    assert before == "<main><p>vae wins</p>" and after.endswith("<p>limits</p></main>")
    assert 'href="external/pad.html"' in after and "old" not in after
    assert log.lines == [f"Look at {paths.reports / 'index.html'}"]
    assert write_index(paths, "pad")[0] == page


def test_without_external_sets_there_is_a_main_page_too(paths: Paths) -> None:
    page, _ = write_index(paths)
    assert "nothing is known of images of another clinic" in page and "external/" not in page


def test_a_missing_record_or_page_is_named(paths: Paths) -> None:
    with pytest.raises(DataError, match=r"external/new.json: cannot be read .*run dvc repro"):
        write_index(paths, "new")
    (paths.reports / "comparison.html").unlink()
    with pytest.raises(
        DataError, match=r"comparison.html is missing, expected the page of the comparison; dvc repro c"
    ):
        write_index(paths)
