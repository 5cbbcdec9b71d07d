"""The original run is found by its id or name."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.base.errors import RunError
from flows.reproduction.original_run import choose_run, find_run
from flows.settings import load_settings
from flows.tracking import mlflow_log
from flows.tracking.mlflow_log import open_client
from tests.unit.flows.toy_repository import repeat

pytestmark = pytest.mark.usefixtures("toy_checkout")


def test_a_run_is_found_by_the_first_characters_of_its_id_or_name(tmp_path: Path) -> None:
    client, settings = open_client(), load_settings()
    ids = []
    for name in ("finetune@vae-frozen-0", "finetune@vae-frozen-1", "finetune@vae-frozen-1"):
        with mlflow_log.recorded_run(settings, name, {"stage": "finetune"}) as log:
            ids.append(log.run_id)
    assert find_run(client, ids[0][:10]).info.run_id == ids[0]
    assert find_run(client, "finetune@vae-frozen-0").info.run_id == ids[0]
    with pytest.raises(
        RunError, match=rf"'finetune@vae-frozen-1' matches 2 runs: give more characters of its id\n.*{ids[2]}"
    ):
        find_run(client, "finetune@vae-frozen-1")
    with pytest.raises(
        RunError, match=rf"(?s)is not a run of MLflow; the most similar are\n.*  {ids[0]}  finetune@vae-frozen-0"
    ):
        find_run(client, "fintune@vae-frozen-0")
    with pytest.raises(RunError, match="is not a run of MLflow; the newest are\n"):
        find_run(client, "zzzz")
    with pytest.raises(RunError, match="'zzzz': MLflow has no run yet; `dermflow run` makes the first"):
        choose_run([], "zzzz")
    with pytest.raises(RunError, match="is not the run of a stage: it has no tag `made`"):
        repeat(ids[0], tmp_path / "new")
