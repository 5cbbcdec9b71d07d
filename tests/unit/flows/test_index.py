"""The stage index: the first page is the model for use, the second the comparison with the external test sets."""

from __future__ import annotations

import json
import shutil
from contextlib import chdir
from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import DataError
from components.base.log import SilentLog
from components.external_validation.record import as_record
from components.report.places import EXTERNAL, place
from flows.index import index
from flows.settings.data import Cohort
from flows.settings.study import Paths
from tests.unit.comparison.simulated_study import FOLDERS
from tests.unit.deployment.bundled_study import RUN, arguments
from tests.unit.external_validation.planted_drop import assess_runs, simulate_runs
from tests.unit.external_validation.test_summary import INTERNAL

PLAN = {
    "study": "simulation", "unit": "lesions", "missing_ids": [], "rule": {"confidence": 0.95}, "resamples": 50,
    "seed": 0,
}  # fmt: skip


@pytest.fixture
def paths(bundled_study: Path, tmp_path: Path) -> Paths:
    """What the stages before `index` leave; the external test set `old` is no longer in params.yaml."""
    root = tmp_path / "study"
    shutil.copytree(bundled_study, root)
    found = Paths(**FOLDERS)
    reports = root / found.reports
    (reports / "external").mkdir(parents=True)
    (reports / "comparison.html").write_text(
        f'<main><p>vae wins</p>{place(EXTERNAL)}<p>limits</p></main><p class="made">Made before.</p>'
    )
    _write(reports / "external" / "internal-test.json", INTERNAL)
    record = as_record(assess_runs(simulate_runs({"imagenet": (2.2, 2.2), "vae": (2.6, 1.0)}), resamples=20))
    for name in ("pad", "old"):
        _write(reports / "external" / f"{name}.json", record | {"plan": record["plan"] | {"cohort": name}})
    comparison = json.loads((reports / "comparison.json").read_text())
    comparison["protocol"]["confirmatory"] = False
    _write(reports / "comparison.json", comparison | {"plan": PLAN})
    _write(reports / "robustness.json", {"sheets": []})
    _write(reports / "explanations.json", {"models": {}})
    images = pd.read_parquet(root / found.predictions / f"{RUN}.parquet")[["image_id", "lesion_id", "label"]]
    images = images.rename(columns={"label": "diagnosis"}).assign(patient_id=None, age=50.0, sex="male", site="back")
    images.assign(skin_type=2, source="s").to_parquet(root / found.accepted)
    return found


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content))


def write_index(root: Path, paths: Paths, *names: str) -> SilentLog:
    cohorts = [Cohort.model_validate({"name": name, "dataset": {"kind": "isic", "path": name}}) for name in names]
    log = SilentLog()
    with chdir(root):
        found = index.work(external=cohorts, clinical=arguments(log)["clinical"], paths=paths, log=log)
    assert found["external_test_sets"] == len(names)
    return log


def test_the_first_page_is_the_model_for_use_and_the_second_the_study(tmp_path: Path, paths: Paths) -> None:
    root = tmp_path / "study"
    log = write_index(root, paths, "pad")
    first, second = ((root / paths.reports / name).read_text() for name in ("index.html", "study.html"))
    record = json.loads((root / paths.reports / "chosen_model.json").read_text())
    assert f"model {RUN}, version {record['version'][:12]}" in first
    assert record["answers"]["images"] == 24 and "Fit for use: not judged." in first
    before, _, after = second.partition('<h2 id="external">')
    assert before == "<main><p>vae wins</p>" and "<p>limits</p></main>" in after
    assert 'href="external/pad.html"' in after and "old" not in after
    assert log.lines == [f"Look at {paths.reports / 'index.html'}"]
    write_index(root, paths, "pad")
    assert (root / paths.reports / "index.html").read_text() == first


def test_the_first_page_says_by_which_version_it_was_made(tmp_path: Path, paths: Paths) -> None:
    root = tmp_path / "study"
    write_index(root, paths)
    page, record = (root / paths.reports / "index.html").read_text(), root / paths.reports / "chosen_model.json"
    version = json.loads(record.read_text())["version"][:12]
    assert f"Made with Dermflow 1.2.3 from a commit that is not known. Model: {RUN}, bundle {version}." in page


def test_the_second_page_says_from_what_it_was_made_itself(tmp_path: Path, paths: Paths) -> None:
    root = tmp_path / "study"
    write_index(root, paths)
    page = (root / paths.reports / "study.html").read_text()
    assert page.endswith(
        '<p class="made">Made with Dermflow 1.2.3 from a commit that is not known. Model: vae-frozen-1.</p>'
    )
    assert "Made before." not in page


def test_without_external_sets_there_is_a_study_page_too(tmp_path: Path, paths: Paths) -> None:
    write_index(tmp_path / "study", paths)
    page = (tmp_path / "study" / paths.reports / "study.html").read_text()
    assert "nothing is known of images of another clinic" in page and "external/" not in page


def test_a_missing_record_or_page_is_named(tmp_path: Path, paths: Paths) -> None:
    root = tmp_path / "study"
    with pytest.raises(DataError, match=r"external/new.json: cannot be read .*run dvc repro"):
        write_index(root, paths, "new")
    (root / paths.reports / "comparison.html").unlink()
    with pytest.raises(
        DataError, match=r"comparison.html is missing, expected the page of the comparison; dvc repro c"
    ):
        write_index(root, paths)
