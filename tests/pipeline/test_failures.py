"""The pipeline when a stage fails or the user stops it, and what outputs reveal about patients."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest
from PIL import Image

from flows.stage import STALE_VARIABLE
from tests.pipeline.conftest import NAME, PEOPLE, Checkout, runs_of, survivors, wait_until, write_patients

pytestmark = pytest.mark.slow

UP_TO_TRAINING = ("synthesize", "ingest", "validate", "split", "pack", "method", "pretrain", "finetune")
GREY = f"nv/{NAME}999_l999_grey.jpg"


@pytest.fixture(scope="module")
def with_patients(new_checkout: Callable[[], Checkout]) -> Checkout:
    """A folder of patients' images, with a key; a grey image is accepted by its path; nothing has run yet."""
    checkout = new_checkout()
    clinic = checkout.folder / "data" / "raw" / "clinic"
    write_patients(clinic)
    with Image.open(next(clinic.glob("nv/*[0-9].jpg"))) as image:
        image.convert("L").transpose(Image.Transpose.ROTATE_90).save(clinic / GREY, quality=95)
    entry = f"{GREY},image.grey,A. B.,the only picture of this lesion"
    (clinic / "accepted_by_hand.csv").write_text(f"path,rule,who,why\n{entry}\n")
    key = Path(checkout.environment["DERMFLOW_KEY_FILE"])
    if not key.exists():
        assert str(key) in checkout.run("-m", "flows.commands.cli", "key").stdout
    return checkout


def test_a_failed_stage_keeps_its_siblings_and_a_rerun_does_the_rest(with_patients: Checkout) -> None:
    checkout = with_patients
    weights = checkout.folder / "weights.pth"
    weights.write_bytes(b"not these")
    wrong = "pretrain.arms.imagenet={kind: imagenet, source: file, file: weights.pth, sha256: " + "a" * 64 + "}"
    checkout.use(*PEOPLE, wrong)
    failed = checkout.flow(check=False)
    assert failed.returncode == 1
    assert "weights.pth" in failed.stdout + failed.stderr
    assert re.search(r"1 of \d+ stages failed \(pretrain@imagenet-0\)", failed.stderr)
    status = {run.info.run_name: run.info.status for run in runs_of(checkout)}
    assert status["pretrain@imagenet-0"] == "FAILED"
    assert status["finetune@random-frozen-0"] == "FINISHED"
    assert status["pipeline demo"] == "FAILED"
    checkout.use(*PEOPLE)
    done = checkout.flow()
    running = set(re.findall(r"Running stage '([\w@-]+)'", done.stdout + done.stderr))
    downstream = {"evaluate", "explain", "probe", "robustness", "compare", "cards", "bundle", "index", "paper"}
    assert running == {"method@imagenet", "pretrain@imagenet-0", "finetune@imagenet-frozen-0"} | downstream


def test_no_output_contains_a_name_or_a_place(with_patients: Checkout) -> None:
    """Names are in paths, ids, EXIF and a comment of the raw images, from which a complete run was made."""
    folder = with_patients.folder
    words = [NAME.encode(), b"mustermann", b"Erika", b"Exif\0\0"]
    assert all(word in next(folder.glob("data/raw/clinic/nv/*[0-9].jpg")).read_bytes() for word in (words[0], words[3]))
    leaving = ("mlruns", "reports", "metrics", "curves", "data/pixels", "data/predictions", "data/encoders",
               "data/classifiers", "data/docs", "data/split.csv")  # fmt: skip
    quarantine = pd.read_csv(folder / "data/quarantine.csv", dtype="str")
    (broken,) = quarantine[quarantine["rule"].str.startswith("image.")].itertuples()
    assert broken.path == f"nv/{NAME}0_l0_broken.jpg" and broken.image_id.startswith("image-")
    counts = json.loads((folder / "metrics/validation.json").read_text())
    assert counts["accepted_by_hand"] == {"image.grey": 1}
    found = with_patients.run("-m", "flows.commands.cli", "data", "where", broken.image_id).stdout
    assert f"data/raw/clinic/{broken.path}" in found
    files = [path for name in leaving for path in [folder / name, *(folder / name).rglob("*")] if path.is_file()]
    assert len(files) > 40
    assert any("quarantine" in path.name and "mlruns" in path.parts for path in files)
    found = {(word, str(path.relative_to(folder))) for path in files for word in words if word in path.read_bytes()}
    assert not found
    errors = {run.data.tags.get("error") for run in runs_of(with_patients)}
    assert "WeightsError: its message stays on the host" in errors


def test_ctrl_c_leaves_no_process_and_closes_all_runs_as_killed(
    new_checkout: Callable[[], Checkout], tmp_path: Path
) -> None:
    checkout = new_checkout()
    long = "finetune.frozen={epochs: 60, learning_rate: 0.003}"  # still running when the second flow was refused
    checkout.use(long, "finetune.patience=60")
    checkout.keep_stages(*UP_TO_TRAINING)
    log = tmp_path / "flow.log"
    flow = checkout.start("-m", "flows.pipeline", output=log)
    wait_until(lambda: any("flows.validate" in words for words in survivors(checkout)), flow, log)
    second = checkout.flow(check=False)
    assert "works in this checkout" in second.stdout + second.stderr
    trainings = ("pretrain", "finetune")
    wait_until(
        lambda: any(run.info.status == "RUNNING" and run.data.tags["stage"] in trainings for run in runs_of(checkout)),
        flow,
        log,
    )
    os.killpg(flow.pid, signal.SIGINT)  # as a terminal does: Prefect's server must not end before the flow
    assert flow.wait(timeout=90) == 130
    assert survivors(checkout) == []
    status = {run.info.run_name: run.info.status for run in runs_of(checkout)}
    assert status["pipeline demo"] == "KILLED"
    assert "RUNNING" not in status.values()
    assert "KILLED" in [value for name, value in status.items() if name.startswith(trainings)]
    params = checkout.folder / "params.yaml"  # two epochs are enough to see that the next flow goes on
    params.write_text(params.read_text().replace("epochs: 60", "epochs: 2"))
    checkout.environment[STALE_VARIABLE] = "set-aside"
    (unchanged,) = re.findall(r"11 stages up to date, (\d+) of them unchanged", checkout.flow().stdout)
    assert 5 <= int(unchanged) < 11  # no less than what comes before the trainings
    assert len(list((checkout.folder / "data" / "classifiers").glob("*.safetensors"))) == 2


def wait_for_end(checkout: Checkout) -> None:
    """Wait for stages of a flow that was killed, which end by themselves."""
    until = time.monotonic() + 300
    while survivors(checkout):
        assert time.monotonic() < until
        time.sleep(0.5)


def test_a_second_ctrl_c_kills_all_and_the_next_run_closes_what_it_left(
    new_checkout: Callable[[], Checkout], tmp_path: Path
) -> None:
    checkout = new_checkout()
    checkout.keep_stages("synthesize", "ingest", "validate")
    log = tmp_path / "flow.log"
    flow = checkout.start("-m", "flows.pipeline", output=log)
    wait_until(lambda: any("flows.validate" in words for words in survivors(checkout)), flow, log)
    os.killpg(flow.pid, signal.SIGINT)
    wait_until(lambda: "Ctrl-C again kills all at once" in log.read_text(), flow, log)
    os.killpg(flow.pid, signal.SIGINT)
    assert flow.wait(timeout=90) == 130
    assert survivors(checkout) == []
    assert "was killed; its MLflow run is now closed as KILLED" in checkout.flow().stdout
    status = [run.info.status for run in runs_of(checkout)]
    assert "KILLED" in status and "RUNNING" not in status


def test_no_server_outlives_a_flow_that_was_killed(new_checkout: Callable[[], Checkout], tmp_path: Path) -> None:
    checkout = new_checkout()
    checkout.keep_stages("synthesize", "ingest", "validate")
    log = tmp_path / "flow.log"
    flow = checkout.start("-m", "flows.pipeline", output=log)
    wait_until(lambda: any("flows.validate" in words for words in survivors(checkout)), flow, log)
    servers = [each for each in psutil.Process(flow.pid).children() if "uvicorn" in each.cmdline()]
    assert len(servers) == 1
    flow.kill()
    flow.wait()
    gone, alive = psutil.wait_procs(servers, timeout=60)
    assert gone and not alive
    wait_for_end(checkout)
