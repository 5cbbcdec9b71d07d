"""The whole pipeline where it goes wrong: a stage fails, a person stops it; and what leaves the host then."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.conftest import NAME, PEOPLE, Checkout, photograph_people, runs_of, survivors

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def of_people(new_checkout: Callable[[], Checkout]) -> Checkout:
    """A clinic's own images, with a key; nothing has run yet."""
    checkout = new_checkout()
    photograph_people(checkout.folder / "data" / "raw" / "clinic")
    key = Path(checkout.environment["DERMFLOW_KEY_FILE"])
    if not key.exists():
        assert str(key) in checkout.run("-m", "flows.commands.cli", "key").stdout
    return checkout


def test_a_failed_stage_keeps_its_siblings_and_a_rerun_does_the_rest(of_people: Checkout) -> None:
    checkout = of_people
    weights = checkout.folder / "weights.pth"
    weights.write_bytes(b"not these")
    wrong = "pretrain.arms.imagenet={kind: imagenet, source: file, file: weights.pth, sha256: " + "a" * 64 + "}"
    checkout.use(*PEOPLE, wrong)
    failed = checkout.flow(check=False)
    assert failed.returncode == 1
    assert "weights.pth" in failed.stdout + failed.stderr
    assert re.search(r"1 of \d+ stages failed \(pretrain@imagenet\)", failed.stderr)
    status = {run.info.run_name: run.info.status for run in runs_of(checkout)}
    assert status["pretrain@imagenet"] == "FAILED"
    assert status["finetune@random-frozen-0"] == "FINISHED"
    assert status["pipeline demo"] == "FAILED"
    checkout.use(*PEOPLE)
    done = checkout.flow()
    running = set(re.findall(r"Running stage '([\w@-]+)'", done.stdout + done.stderr))
    behind = {"evaluate", "explain", "robustness", "compare", "cards"}
    assert running == {"pretrain@imagenet", "finetune@imagenet-frozen-0"} | behind


def test_nothing_that_leaves_the_table_names_a_person_or_a_place(of_people: Checkout) -> None:
    """Names stand in paths, ids, EXIF and a comment of the raw images; a whole run has been made of them."""
    folder = of_people.folder
    words = [NAME.encode(), b"mustermann", b"Erika", b"Exif\0\0"]
    assert all(word in next(folder.glob("data/raw/clinic/nv/*[0-9].jpg")).read_bytes() for word in (words[0], words[3]))
    leaving = ("mlruns", "reports", "metrics", "curves", "data/pixels", "data/predictions", "data/encoders",
               "data/classifiers", "data/docs", "data/split.csv")  # fmt: skip
    files = [path for name in leaving for path in [folder / name, *(folder / name).rglob("*")] if path.is_file()]
    assert len(files) > 40
    assert any("quarantine" in path.name and "mlruns" in path.parts for path in files)
    found = {(word, str(path.relative_to(folder))) for path in files for word in words if word in path.read_bytes()}
    assert not found
    told = {run.data.tags.get("error") for run in runs_of(of_people)}
    assert "WeightsError: its message stays on the host" in told


def wait_for(happened: Callable[[], bool], flow: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 300
    while not happened():
        assert time.monotonic() < until, "it never happened"
        assert flow.poll() is None, "the flow ended before"
        time.sleep(0.2)


def test_ctrl_c_leaves_no_process_and_tells_the_truth(new_checkout: Callable[[], Checkout], tmp_path: Path) -> None:
    checkout = new_checkout()
    flow = checkout.start("-m", "flows.pipeline", output=tmp_path / "flow.log")
    wait_for(lambda: any("flows.validate" in words for words in survivors(checkout)), flow)
    second = checkout.flow(check=False)
    assert "is going on in this checkout" in second.stdout + second.stderr
    trainings = ("pretrain", "finetune")
    wait_for(
        lambda: any(r.info.status == "RUNNING" and r.data.tags["stage"] in trainings for r in runs_of(checkout)), flow
    )
    flow.send_signal(signal.SIGINT)
    assert flow.wait(timeout=60) == 130
    assert survivors(checkout) == []
    status = {run.info.run_name: run.info.status for run in runs_of(checkout)}
    assert status["pipeline demo"] == "KILLED"
    assert "RUNNING" not in status.values()
    assert "KILLED" in [value for name, value in status.items() if name.startswith(trainings)]
    checkout.flow()
    assert (checkout.folder / "reports" / "index.html").exists()
