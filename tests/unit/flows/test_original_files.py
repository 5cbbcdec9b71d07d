"""Original contents of outputs are found by their md5."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.reproduction.compare_runs import read_flat
from flows.reproduction.original_files import OriginalFiles
from flows.reproduction.original_run import OriginalRun
from flows.settings import load_settings
from flows.tracking import mlflow_log
from flows.tracking.lineage import file_md5
from flows.tracking.mlflow_log import open_client

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")  # DVC 3.67 on pygtrie


def test_a_report_is_found_among_the_artifacts_of_the_pipeline_run(
    toy_checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC does not cache reports/*.json, and no tag `made` has their md5."""
    client, settings, path = open_client(), load_settings(), "reports/external/pad.json"
    (tmp_path / "reports" / "external").mkdir(parents=True)
    (tmp_path / path).write_text('{"rows": [{"p": 0.5}, null]}')
    with mlflow_log.recorded_run(settings, "pipeline demo", {"stage": "pipeline"}) as flow:
        flow.artifact(tmp_path / "reports", "reports")
    monkeypatch.setenv(mlflow_log.PARENT_VARIABLE, flow.run_id)
    with mlflow_log.recorded_run(settings, "average", {"stage": "average"}) as stage:
        pass
    for run_id in (flow.run_id, stage.run_id):
        original = OriginalRun(client, client.get_run(run_id), tmp_path / run_id)
        find = OriginalFiles(original, toy_checkout, tmp_path / "cache", Path("reports"))
        found = find(path, file_md5(tmp_path / path))
        assert found is not None and read_flat(found) == {"rows/0/p": 0.5, "rows/1": None}
        assert find(path, "0" * 32) is None
