"""After SIGKILL of flow, dvc and training at once, the next flow resumes the training where it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import mlflow
import psutil
import pytest

from tests.pipeline.conftest import Checkout, wait_until

pytestmark = pytest.mark.thorough
CHANGES = (
    "study.arms=[vae,random]", "study.reference=random", "compute.checkpoint_steps=1",
    "pretrain.arms.vae={kind: vae, epochs: 8, batch_size: 16, decoder_width: 16}",
)  # fmt: skip


def kill_all(checkout: Checkout) -> None:
    """Send SIGKILL to every process that works in the checkout."""
    for process in psutil.process_iter(["cwd"]):
        if process.info["cwd"] == str(checkout.folder):
            process.kill()


def test_a_killed_training_is_resumed_in_the_same_mlflow_run(
    new_checkout: Callable[[], Checkout], tmp_path: Path
) -> None:
    checkout, log = new_checkout(), tmp_path / "flow.log"
    checkout.use(*CHANGES)
    flow = checkout.start("-m", "flows.pipeline", output=log)
    state = checkout.folder / "data" / "checkpoints" / "pretrain" / "vae-0"
    wait_until((state / "former.ckpt").exists, flow, log)
    kill_all(checkout)
    flow.wait(30)
    client = mlflow.MlflowClient(f"sqlite:///{checkout.folder}/mlruns/mlflow.db")
    (study,) = [found.experiment_id for found in client.search_experiments() if found.name == "demo"]
    query = "tags.stage = 'pretrain' and tags.arm = 'vae'"
    (killed,) = client.search_runs([study], query)
    assert killed.info.status == "RUNNING"
    done = checkout.flow()
    assert "VAE: continuing after epoch" in done.stdout + done.stderr
    (run,) = client.search_runs([study], query)
    (*_, newest) = sorted(client.search_runs([study], "tags.stage = 'pipeline'"), key=lambda run: run.info.start_time)
    assert (run.info.run_id, run.info.status) == (killed.info.run_id, "FINISHED")
    assert run.data.tags["mlflow.parentRunId"] == newest.info.run_id != killed.data.tags["mlflow.parentRunId"]
    parent = client.get_run(killed.data.tags["mlflow.parentRunId"])
    assert parent.info.status == "KILLED" and "ended without closing the run" in parent.data.tags["error"]
    points = client.get_metric_history(run.info.run_id, "val/elbo")
    assert sorted(point.step for point in points) == list(range(1, 9))
    assert not state.exists()
    checkout.repro()  # and DVC finds nothing stale
    assert len(client.search_runs([study], query)) == 1
