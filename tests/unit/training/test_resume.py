"""kill -9 at any moment, then the same command: the same bits, and the same MLflow run with each step once.

A server imports torch and mlflow once and forks a process for each command, so that a kill takes a second, not ten.
Each process runs what `python -m flows.<stage>` runs, in a checkout with its own settings and database.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from functools import partial, reduce
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from components.data.pixels import write_pixels
from flows.stage import STALE_VARIABLE
from flows.tracking import mlflow_log
from tests.unit.training.small_trainings import (
    COMMANDS,
    MADE,
    REPO,
    SCHEDULE,
    SETTINGS,
    SIDE,
    client_of,
    fill_checkout,
    histories,
    make_database,
    runs_of,
    write_settings,
)  # fmt: skip

# Module, function, and before which of its calls the process dies.
DEATHS = {
    "a mark but no run": ("flows.tracking.mlflow_log", "_create", 1),
    "a run but nothing in it": ("flows.tracking.mlflow_log", "log_inputs", 1),
    "an epoch logged that no state holds": ("components.training.history", "History.add", 2),
    "a result but no numbers": ("flows.stage", "write_metrics", 1),
    "numbers that MLflow lacks": ("flows.stage", "_log_result", 1),
    "a run that ended, a state not yet taken away": ("components.training.checkpoints", "forget_state", 1),
}


def command(training: str, root: Path, environment: dict[str, str], death: tuple[str, str, int] | None = None) -> None:
    """What the command line does, in a process of its own; its output goes to output.txt."""
    os.chdir(root)
    os.environ.update(environment)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    name, *words = COMMANDS[training]
    stage = getattr(importlib.import_module(f"flows.{name}"), name)
    sys.argv = [name, *words]
    if death is not None:
        _die_before(*death)
    stage.main()


def _die_before(module: str, name: str, number: int) -> None:
    *classes, name = name.split(".")
    place = reduce(getattr, classes, importlib.import_module(module))
    calls, real = count(1), getattr(place, name)

    def watched(*given, **named):
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*given, **named)

    setattr(place, name, watched)


@pytest.fixture(scope="module")
def start():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", str(REPO))
        patch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
        for name in ("MLFLOW_TRACKING_URI", mlflow_log.PARENT_VARIABLE, STALE_VARIABLE, "PREFECT__FLOW_RUN_ID"):
            patch.delenv(name, raising=False)
        context = multiprocessing.get_context("forkserver")
        needed = ["albumentations", "timm", "components.pretraining.vae.model", "flows.finetune", "flows.pretrain"]
        context.set_forkserver_preload(
            [__name__, *needed, "matplotlib.figure", "mlflow.store.tracking.sqlalchemy_store"]
        )

        end(_started(context.Process(target=os.getpid)))  # the server's imports are no part of a command's time

        def start(training, root, death=None, **environment):
            run = partial(command, training, root, environment, death)
            return _started(context.Process(target=run, daemon=True))

        yield start


@pytest.fixture(scope="module")
def database(tmp_path_factory) -> Path:
    return make_database(tmp_path_factory.mktemp("database"))


@pytest.fixture(scope="module")
def new_checkout(database, tmp_path_factory):
    return lambda: fill_checkout(tmp_path_factory.mktemp("checkout"), database)


def _started(process):
    process.start()
    return process


def end(process) -> None:
    process.join(120)
    assert process.exitcode == 0


@pytest.fixture(scope="module")
def straight(start, new_checkout):
    """Both trainings without interruption: where, and how many seconds it took."""
    found = {}
    for training in COMMANDS:
        root = new_checkout()
        began = time.monotonic()
        end(start(training, root))
        found[training] = root, time.monotonic() - began
    return found


def state_of(training: str, root: Path) -> Path:
    name, *words = COMMANDS[training]
    return root / "data" / "checkpoints" / name / "-".join(words)


def parent_of(root: Path) -> str:
    client = client_of(root)
    return client.create_run(client.search_experiments()[0].experiment_id).info.run_id


def _kill_at(process, seconds: float) -> None:
    """Unless the process was done before."""
    process.join(seconds)
    process.kill()
    process.join()


def _kill_while_writing(process, folder: Path, states: int) -> bool:
    """As soon as a state is seen half written, after `states` of them; whether one was left so."""
    for _ in range(states):
        if not _wait(lambda: _unfinished(folder), process) or not _wait(lambda: not _unfinished(folder), process):
            return False
    while _wait(lambda: _unfinished(folder), process):
        os.kill(process.pid, signal.SIGSTOP)  # a state is soon written
        if _unfinished(folder):
            break
        os.kill(process.pid, signal.SIGCONT)
    process.kill()
    process.join()
    return _unfinished(folder)


def _wait(seen, process) -> bool:
    while process.is_alive():
        for _ in range(200):
            if seen():
                return True
    return False


def _unfinished(folder: Path) -> bool:
    return (folder / "last.ckpt.part").exists()


class Chain:
    """Commands in one checkout, each killed; the last is not."""

    def __init__(self, training: str, root: Path, start) -> None:
        self.training, self.root, self.start = training, root, start
        self.kills = self.torn = self.over = 0

    def kill(self, kill, death=None, **environment) -> None:
        """`kill` ends the process somehow; where it was done already the next command is a training of its own."""
        kill(self.start(self.training, self.root, death, **environment))
        self.kills += 1
        if not state_of(self.training, self.root).exists():
            self.over = sum(run.info.status == "FINISHED" for run in runs_of(self.root))

    def tear(self, states: int) -> None:
        def kill(process):
            self.torn += _kill_while_writing(process, state_of(self.training, self.root), states)

        self.kill(kill)

    def check(self, whole: Path, parent: str) -> None:
        """The last command; then all is as in `whole`."""
        end(self.start(self.training, self.root, **{mlflow_log.PARENT_VARIABLE: parent}))
        for name in MADE[self.training]:
            same = (self.root / name).read_bytes() == (whole / name).read_bytes()
            assert same, f"{name} after {self.kills} kills"
        assert list((self.root / "data" / "checkpoints").glob("*/*")) == [], "something was not taken away"
        self._check_runs(whole, parent)

    def _check_runs(self, whole: Path, parent: str) -> None:
        (expected,), runs = runs_of(whole), runs_of(self.root)
        assert len(runs) == 1 + self.over
        assert {run.info.status for run in runs} == {"FINISHED"}
        assert runs[0].data.tags["mlflow.parentRunId"] == parent
        assert self.over or int(runs[0].data.tags["resumed"]) >= 2  # a kill at a moment may come before all else
        measured = histories(whole, expected)
        health = {f"system/{name}" for name in ("images_per_second", "data_wait_share", "peak_memory_gib")}
        assert health | {"learning_rate", "fit/gradient_norm", "fit/gradient_norm_max"} <= set(measured)
        for run in runs:
            found = histories(self.root, run)
            assert "error" not in run.data.tags and run.data.params == expected.data.params
            assert set(found) == set(measured)
            for name, points in found.items():
                steps = [step for step, _ in points]
                assert steps == [step for step, _ in measured[name]], f"{name} has steps {steps}"
                assert name.startswith("system/") or points == measured[name], name


def _die(process) -> None:
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("training", list(COMMANDS))
@pytest.mark.parametrize("seed", [20, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in (21, 22, 23, 24))])
def test_killed_at_any_moment_and_started_again_equals_one_run(training, seed, start, straight, new_checkout):
    whole, seconds = straight[training]
    moments, chain = random.Random(seed), Chain(training, new_checkout(), start)
    for _ in range(4):
        chain.kill(partial(_kill_at, seconds=moments.uniform(0.05, 0.9) * seconds))
    for _ in range(2):
        chain.tear(moments.randrange(3))
    chain.check(whole, parent_of(chain.root))
    assert chain.kills == 6
    assert chain.torn or seed != 20, "no kill fell into the writing of a state"


@pytest.mark.parametrize("training", list(COMMANDS))
def test_killed_between_any_two_records_and_started_again_equals_one_run(training, start, straight, new_checkout):
    chain = Chain(training, new_checkout(), start)
    flow, other = parent_of(chain.root), parent_of(chain.root)
    for death in DEATHS.values():
        chain.kill(_die, death, **{mlflow_log.PARENT_VARIABLE: flow})
    assert [run.data.tags["mlflow.parentRunId"] for run in runs_of(chain.root)] == [flow]
    chain.check(straight[training][0], other)
    assert chain.over == 0


def _left(start, new_checkout, training="fine-tuning") -> Path:
    """A checkout in which a training was killed in its second epoch."""
    root = new_checkout()
    _die(start(training, root, ("components.training.checkpoints", "keep_state", 7)))
    return root


def _learn_at(root: Path, rate: float) -> None:
    write_settings(root, finetune={**SETTINGS["finetune"], "full": SCHEDULE | {"learning_rate": rate}})


def test_other_settings_are_refused_by_name_and_the_old_ones_continue(start, straight, new_checkout):
    root = _left(start, new_checkout)
    (killed,) = runs_of(root)
    assert killed.info.status == "RUNNING"
    _learn_at(root, 0.02)
    process = start("fine-tuning", root)
    process.join(60)
    assert process.exitcode == 1
    message = "finetune: StaleStateError: vae-full-0: data/checkpoints/finetune/vae-full-0/last.ckpt was made with "
    message += "finetune.full.learning_rate = 0.01, but now it is 0.02: delete data/checkpoints/finetune/vae-full-0 to"
    assert message in (root / "output.txt").read_text()
    status = {run.info.run_id: run.info.status for run in runs_of(root)}
    assert status.pop(killed.info.run_id) == "KILLED"
    assert list(status.values()) == ["FAILED"]
    write_settings(root)
    end(start("fine-tuning", root))
    run = next(run for run in runs_of(root) if run.info.run_id == killed.info.run_id)
    assert (run.info.status, len(runs_of(root))) == ("FINISHED", 2)
    assert (root / MADE["fine-tuning"][0]).read_bytes() == (
        straight["fine-tuning"][0] / MADE["fine-tuning"][0]
    ).read_bytes()


def test_where_prefect_starts_the_run_other_settings_set_the_state_aside(start, new_checkout):
    root, fresh = _left(start, new_checkout), new_checkout()
    (killed,) = runs_of(root)
    for checkout in (root, fresh):
        _learn_at(checkout, 0.02)
    process = start("fine-tuning", root, PREFECT__FLOW_RUN_ID="a", **{STALE_VARIABLE: "refuse"})
    process.join(60)
    assert process.exitcode == 1, "the variable is the stronger"
    end(start("fine-tuning", root, PREFECT__FLOW_RUN_ID="a"))
    end(start("fine-tuning", fresh))
    for name in MADE["fine-tuning"]:
        assert (root / name).read_bytes() == (fresh / name).read_bytes()
    folder = state_of("fine-tuning", root)
    assert not folder.exists() and (folder.with_name("vae-full-0.aside") / "last.ckpt").is_file()
    assert "set aside as data/checkpoints/finetune/vae-full-0.aside, starting anew" in (root / "output.txt").read_text()
    assert runs_of(root)[0].info.status == "FINISHED" and runs_of(root)[0].info.run_id != killed.info.run_id
    assert "RUNNING" not in {run.info.status for run in runs_of(root)}
    folder.with_name("vae-full-0.aside").rename(folder)  # what was set aside can be continued
    write_settings(root)
    end(start("fine-tuning", root))
    run = next(run for run in runs_of(root) if run.info.run_id == killed.info.run_id)
    assert run.info.status == "FINISHED" and "resumed" in run.data.tags


def test_changed_images_set_aside_begin_a_run_of_their_own(start, new_checkout):
    """The settings are the same, so the run is found again; its steps are those of other images."""
    root = _left(start, new_checkout, "pretraining")
    (killed,) = runs_of(root)
    images = np.full((26, SIDE, SIDE, 3), 99, dtype=np.uint8)
    names = [f"other_{row}" for row in range(26)]
    columns = {"image_id": names, "label": ["benign"] * 26, "lesion_id": names, "group": names}
    write_pixels(root / "data" / "pixels" / "train", images, pd.DataFrame(columns), SIDE)
    end(start("pretraining", root, **{STALE_VARIABLE: "set-aside"}))
    newest, former = runs_of(root)
    assert (former.info.run_id, former.info.status) == (killed.info.run_id, "FAILED")
    assert "images = " in former.data.tags["error"]
    points = histories(root, newest)
    assert newest.info.status == "FINISHED" and [step for step, _ in points["fit/loss"]] == [1, 2, 3]
    assert max(step for step, _ in histories(root, former)["fit/loss"]) == 1


def test_a_run_that_ended_without_a_state_is_a_run_of_its_own(start, new_checkout):
    root = new_checkout()
    encoder = root / "data" / "encoders" / "vae-0.safetensors"
    encoder.rename(root / "away")
    process = start("fine-tuning", root)
    process.join(60)
    assert process.exitcode == 1
    (root / "away").rename(encoder)
    end(start("fine-tuning", root))
    assert [run.info.status for run in runs_of(root)] == ["FINISHED", "FAILED"]


def test_a_second_process_is_refused(start, new_checkout):
    root = new_checkout()
    folder = state_of("fine-tuning", root)
    folder.parent.mkdir(parents=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):
        process = start("fine-tuning", root)
        process.join(60)
    assert process.exitcode == 1 and runs_of(root) == []
    assert "RunError: another process trains finetune@vae-full-0 here" in (root / "output.txt").read_text()


@pytest.mark.thorough
@pytest.mark.parametrize("training", list(COMMANDS))
def test_the_command_line_killed_continues(training, straight, new_checkout):
    root, (name, *words) = new_checkout(), COMMANDS[training]
    environment = os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", f"flows.{name}", *words]
    process = subprocess.Popen(line, cwd=root, env=environment, stdout=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not (state_of(training, root) / "former.ckpt").exists():
        assert process.poll() is None and time.monotonic() < until
    process.kill()
    assert process.wait() == -signal.SIGKILL
    subprocess.run(line, cwd=root, env=environment, check=True, capture_output=True, timeout=300)
    for made in MADE[training]:
        assert (root / made).read_bytes() == (straight[training][0] / made).read_bytes()
    assert [run.info.status for run in runs_of(root)] == ["FINISHED"]
