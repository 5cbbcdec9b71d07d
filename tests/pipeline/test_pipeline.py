"""The pipeline in fresh checkouts: dvc repro and the flow give equal results, skip stages, and run on a schedule."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.pipeline.conftest import Checkout, runs_of, survivors

pytestmark = pytest.mark.slow


def numbers_of(checkout: Checkout) -> dict[str, object]:
    files = sorted((checkout.folder / "metrics").rglob("*.json"))
    assert len(files) > 8
    return {path.relative_to(checkout.folder).as_posix(): json.loads(path.read_text()) for path in files}


@pytest.fixture(scope="module")
def by_flow(new_checkout: Callable[[], Checkout]) -> Checkout:
    checkout = new_checkout()
    checkout.flow()
    return checkout


@pytest.fixture(scope="module")
def by_repro(new_checkout: Callable[[], Checkout]) -> Checkout:
    checkout = new_checkout()
    checkout.repro()
    return checkout


def test_repro_and_flow_give_the_same_lock_and_metrics(by_flow: Checkout, by_repro: Checkout) -> None:
    assert numbers_of(by_flow) == numbers_of(by_repro)
    assert by_flow.lock() == by_repro.lock()


def test_the_page_and_the_answer_are_there(by_flow: Checkout) -> None:
    page = (by_flow.folder / "reports" / "index.html").read_text()
    assert "SYNTHETIC" in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    answer = by_flow.run("-m", "flows.commands.cli", "report").stdout
    assert "not decided: too few seeds" in answer


def test_mlflow_has_a_parent_run_and_one_child_per_stage(by_flow: Checkout) -> None:
    runs = runs_of(by_flow)
    parents = [run for run in runs if run.data.tags["stage"] == "pipeline"]
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parents[0].info.run_id]
    stages = by_flow.lock().count("cmd: ")
    assert len(parents) == 1
    assert len(children) == stages
    assert {run.info.status for run in runs} == {"FINISHED"}
    tuned = next(run for run in children if run.info.run_name == "finetune@imagenet-frozen-0")
    assert {"gap/loss", "gap/accuracy", "best/val/balanced_accuracy"} <= set(tuned.data.metrics)
    assert {"git.commit", "dvc.lock.md5", "dvc.split", "prefect.flow_run", "encoder/sha256"} <= set(tuned.data.tags)
    assert tuned.inputs.dataset_inputs[0].dataset.digest == tuned.data.tags["dvc.data"][:36]
    assert tuned.data.params["finetune.batch_size"] == "16"


def test_a_second_flow_has_nothing_to_do_and_records_that_without_prefect(by_flow: Checkout) -> None:
    before = by_flow.lock()
    done = by_flow.flow()
    stages = before.count("cmd: ")
    assert f"{stages} stages up to date, {stages} of them unchanged" in done.stdout
    assert "flow run" not in (done.stdout + done.stderr).lower()
    last = max(runs_of(by_flow), key=lambda run: run.info.start_time)
    assert (last.data.tags["stage"], last.info.status) == ("pipeline", "FINISHED")
    assert last.data.metrics["stages/skipped"] == last.data.metrics["stages/all"] == stages
    assert "balanced_accuracy" in str(sorted(last.data.metrics))
    assert by_flow.lock() == before


def test_new_settings_run_only_the_stages_that_use_them_and_name_the_runs_that_made_the_others(
    by_repro: Checkout,
) -> None:
    by_repro.use("evaluate.calibration_bins=10")
    done = by_repro.flow()
    output = done.stdout + done.stderr
    assert re.search(r"\d+ stages up to date", done.stdout)
    running = set(re.findall(r"Running stage '([\w@-]+)'", output))
    assert running == {"evaluate", "compare", "index", "paper", "cards", "bundle"}
    named = set(re.findall(r"made by MLflow run (\w+)", output))
    assert named
    assert named <= {run.info.run_id for run in runs_of(by_repro)}


def test_dvc_commands_print_the_results(by_repro: Checkout) -> None:
    assert "finetune@random-frozen-0" in by_repro.run("-m", "dvc", "dag").stdout
    assert "balanced_accuracy" in by_repro.run("-m", "dvc", "metrics", "show").stdout
    assert "evaluate.calibration_bins" in by_repro.run("-m", "dvc", "params", "diff").stdout
    assert ".html" in by_repro.run("-m", "dvc", "plots", "show").stdout


def checkout_schedule(checkout: Checkout, log: Path) -> subprocess.Popen[bytes]:
    words = ["-m", "flows.commands.cli", "schedule", "--cron", "* * * * *", "--port", "4217"]
    return checkout.start(*words, output=log)


def report_of(checkout: Checkout, run: Run) -> str:
    """What changed in a pipeline run, as it is kept in MLflow; empty where it had nothing to do."""
    client = MlflowClient(f"sqlite:///{checkout.folder}/mlruns/mlflow.db")
    if "dermflow-report.md" not in [file.path for file in client.list_artifacts(run.info.run_id)]:
        return ""
    with TemporaryDirectory() as folder:
        return Path(client.download_artifacts(run.info.run_id, "dermflow-report.md", folder)).read_text()


def test_the_scheduler_starts_a_run(by_flow: Checkout, tmp_path: Path) -> None:
    """With broken dependencies a server can start and a schedule exist, and still no run begins."""
    before = len(runs_of(by_flow))
    log = tmp_path / "schedule.log"
    serving = checkout_schedule(by_flow, log)
    try:
        until = time.monotonic() + 300
        while not [run for run in runs_of(by_flow)[: -before or None] if run.info.status == "FINISHED"]:
            assert time.monotonic() < until, f"no scheduled run came: {log.read_text()[-3000:]}"
            assert serving.poll() is None, log.read_text()[-3000:]
            time.sleep(1)
        login = (by_flow.folder / ".dvc/tmp/dermflow/prefect-login").read_text().strip().split(":")
        wanted = {"artifacts": {"key": {"any_": ["dermflow-report"]}}, "sort": "CREATED_DESC"}
        address = "http://127.0.0.1:4217/api/artifacts/filter"
        reports = httpx.post(address, json=wanted, auth=(login[0], login[1]), timeout=30).json()
    finally:
        serving.send_signal(signal.SIGINT)
        ended = serving.wait(timeout=90)
    assert ended in (0, 130)
    newest = max(runs_of(by_flow), key=lambda run: run.info.start_time)
    assert newest.data.metrics["stages/skipped"] == newest.data.metrics["stages/all"]
    finished = [
        run for run in runs_of(by_flow) if run.info.run_name == "pipeline demo" and run.info.status == "FINISHED"
    ]
    earlier = sorted(finished, key=lambda run: run.info.start_time)
    texts = [text for run in earlier if (text := report_of(by_flow, run))]
    assert texts[0].startswith("# demo: the first finished run")
    assert f"(MLflow run {earlier[-2].info.run_id})" in texts[-1]
    assert texts[-1].count("No changes") == 4 and "of them accepted" in texts[-1]
    assert "| imagenet-frozen/balanced_accuracy |" in texts[0] and "synthetic images are no evidence" in texts[-1]
    assert reports[0]["data"] in texts[1:]
    assert survivors(by_flow) == []
