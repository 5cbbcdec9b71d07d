"""Several devices: two processes give the losses of one with the same global batch, however they are started."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from timm.layers import BatchNormAct2d
from torch import nn

from components.base.errors import SettingsError
from components.base.keys import flat_keys
from components.base.log import SilentLog
from components.training.batches import EpochBatches, shuffled_batches
from components.training.loop import fit
from components.training.sync_batch_norm import CommonStatistics
from flows.finetune import finetune
from flows.settings import PARAMS, load_settings
from flows.stage import leads
from tests.unit.training.small_settings import cpu_session
from tests.unit.training.small_trainings import fill_checkout, histories, make_database, runs_of

REPO = Path(__file__).resolve().parents[3]
COUNT, BATCH, EPOCHS = 22, 5, 3
TOLERANCE = 1e-5  # relative: sums in another order
SCRIPT = """
import sys
from tests.unit.training.test_devices import train
root, devices, num_nodes, stop = sys.argv[1], *map(int, sys.argv[2:])
train(root, devices=devices, num_nodes=num_nodes, stop=stop)
"""


class Net(pl.LightningModule):
    """Both kinds of BatchNorm, whose statistics are the whole batch's, and no dropout, which a device draws alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        trunk = [nn.Conv2d(3, 4, 3), BatchNormAct2d(4, act_layer=nn.GELU, inplace=False), nn.AdaptiveAvgPool2d(1)]
        self.net = nn.Sequential(*trunk, nn.Flatten(), nn.BatchNorm1d(4, affine=False), nn.Linear(4, 1))

    def training_step(self, batch, _):
        images, targets = batch
        return {"loss": (self.net(images) - targets).square().mean()}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)


class PrintingLog(SilentLog):
    """Prints a line for each row, so that the output shows which process logs."""

    def metrics(self, values, step=None):
        sys.stdout.write(f"logged {step}\n")


def train(root, devices=1, num_nodes=1, stop=0) -> tuple[dict, list]:
    """Train and, on the leading process, write weights and history; `stop` ends it before that epoch's third step."""
    numbers = torch.Generator().manual_seed(0)
    images = torch.randn(COUNT, 3, 6, 6, generator=numbers)
    targets = images.mean(dim=(1, 2, 3))[:, None] * 5
    folder = Path(root) / "state"
    session = cpu_session(checkpoint=folder, checkpoint_steps=2, devices=devices, num_nodes=num_nodes)
    module = Net()

    def batches(epoch):
        def draw(step, rows, _first):
            if stop and (epoch, step) == (stop, 3):
                raise SystemExit(3)
            return images[rows], targets[rows]

        return EpochBatches(shuffled_batches(COUNT, BATCH, 0, epoch), draw)

    def measure(epoch):
        assert session.leads
        return {"val/loss": float((module.net(images) - targets).square().mean())}

    done = fit(
        module, batches, len(shuffled_batches(COUNT, BATCH, 0, 0)), epochs=EPOCHS, session=session, log=PrintingLog(),
        settings={}, end_of_epoch=measure, monitor="val/loss", what="net",
    )  # fmt: skip
    path = Path(root) / f"{session.rank}.json"
    path.write_text(json.dumps({"history": done.history, "best": done.best_epoch}))
    torch.save(dict(module.state_dict()), path.with_suffix(".pt"))
    return dict(module.state_dict()), done.history


@pytest.mark.parametrize(
    ("variables", "rank"),
    [({}, 0), ({"LOCAL_RANK": "1"}, 1), ({"LOCAL_RANK": "1", "NODE_RANK": "1"}, 3), ({"RANK": "2"}, 2)],
)
def test_the_process_of_rank_zero_leads(variables, rank, monkeypatch, tmp_path):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    log = SilentLog()
    session = cpu_session(checkpoint=tmp_path / "state", log=log, devices=2, num_nodes=2, micro_batch=16)
    assert (session.world, session.rank, session.leads) == (4, rank, rank == 0)
    assert log.lines[0].endswith("channels_last, 4 devices on 2 hosts, at most 16 images at once")
    (tmp_path / "state").mkdir()
    session.forget()
    assert (tmp_path / "state").exists() == (rank > 0), "the leading process alone takes the resume state away"
    assert cpu_session().rank == 0, "others' variables do not concern one process"


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return train(tmp_path_factory.mktemp("alone"))


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1"}


def _torchrun(root: Path, *words: str) -> list[tuple[int, str]]:
    """Two hosts of one process each, over the loopback: exit codes and outputs."""
    where = ["--nnodes=2", "--nproc-per-node=1", "--master-addr=127.0.0.1", f"--master-port={_free_port()}"]
    hosts = [
        subprocess.Popen(
            [sys.executable, "-m", "torch.distributed.run", *where, f"--node-rank={node}", *words],
            env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=root,
        )
        for node in range(2)
    ]  # fmt: skip
    outputs = [host.communicate(timeout=300)[0] for host in hosts]
    return [(host.returncode, words) for host, words in zip(hosts, outputs, strict=True)]


def _check(root: Path, alone: tuple[dict, list]) -> None:
    """Losses and weights of both processes against those of one."""
    state, history = alone
    for rank in range(2):
        found = json.loads((root / f"{rank}.json").read_text())
        for row, expected in zip(found["history"], history, strict=True):
            assert row == pytest.approx(expected, rel=TOLERANCE)
        weights = torch.load(root / f"{rank}.pt", weights_only=True)
        for name, value in state.items():
            torch.testing.assert_close(weights[name], value, rtol=TOLERANCE, atol=1e-6)


def test_two_hosts_under_torchrun_give_the_losses_of_one_process(alone, script, tmp_path):
    hosts = _torchrun(tmp_path, str(script), str(tmp_path), "1", "2", "0")
    assert [code for code, _ in hosts] == [0, 0], hosts
    _check(tmp_path, alone)
    assert [words.count("logged") for _, words in hosts] == [EPOCHS, 0]


@pytest.mark.thorough
def test_two_hosts_that_stopped_go_on_within_the_epoch(alone, script, tmp_path):
    assert all(code for code, _ in _torchrun(tmp_path, str(script), str(tmp_path), "1", "2", "1"))
    assert (tmp_path / "state" / "last.ckpt").is_file() and not (tmp_path / "0.json").exists()
    hosts = _torchrun(tmp_path, str(script), str(tmp_path), "1", "2", "0")
    assert [code for code, _ in hosts] == [0, 0], hosts
    _check(tmp_path, alone)


@pytest.mark.thorough
def test_two_processes_that_lightning_starts_give_the_losses_of_one(alone, script, tmp_path):
    command = [sys.executable, str(script), str(tmp_path), "2", "1", "0"]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr
    _check(tmp_path, alone)
    assert done.stdout.count("logged") == EPOCHS


def test_a_batch_norm_changes_its_class_alone_and_gets_it_back():
    net, images = Net(), torch.randn(5, 3, 6, 6)
    names, plain = list(net.state_dict()), net.eval().net(images)
    kinds = [type(module) for module in net.modules()]
    assert CommonStatistics().apply(net) is net
    changed = [type(module).__name__ for module in net.modules() if type(module).__name__.startswith("Common")]
    assert changed == ["CommonBatchNormAct2d", "CommonBatchNorm1d"]
    assert list(net.state_dict()) == names and torch.equal(net.net(images), plain)
    CommonStatistics().revert(net)
    assert [type(module) for module in net.modules()] == kinds


def test_torchrun_and_settings_that_disagree_are_refused(monkeypatch):
    compute = load_settings(REPO / PARAMS).compute
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match=r"torchrun started 2 processes, compute.devices x compute.num_nodes is 1"):
        leads(compute)
    monkeypatch.setenv("RANK", "1")
    assert not leads(compute.model_copy(update={"num_nodes": 2}))


# ---- whole stages

STAGE_TOLERANCE = 1e-3  # relative; AdamW makes full steps of weights whose gradient is rounding alone
GENTLE = {"epochs": 3, "learning_rate": 0.0003}  # so that those steps stay small
ONE = {
    "finetune": {
        "full": GENTLE, "lpft": {"head": GENTLE, "full": GENTLE},
        "head": {"hidden": 8, "dropout": 0.0},  # a device draws its own
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    return make_database(tmp_path_factory.mktemp("database"))


@pytest.fixture
def new_checkout(database, tmp_path_factory):
    return lambda **compute: fill_checkout(tmp_path_factory.mktemp("checkout"), database, **ONE, compute=compute)


def _run_alone(root: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    finetune.run(list(words))


def _same_result(root: Path, alone: Path, run: str) -> None:
    """Numbers within the tolerance; what must be equal for all arms is; one MLflow run, each step once."""
    path = f"metrics/finetune/{run}.json"
    found, expected = (flat_keys(json.loads((place / path).read_text()), "/") for place in (root, alone))
    assert list(found) == list(expected)
    for name, value in expected.items():
        if name.startswith("computation"):  # the number of devices is among it
            continue
        close = pytest.approx(value, rel=STAGE_TOLERANCE, abs=1e-4) if isinstance(value, float) else value
        assert found[name] == close, name
    assert (root / f"data/classifiers/{run}.safetensors").is_file()
    images, others = (pd.read_parquet(place / f"data/epoch_losses/{run}.parquet") for place in (root, alone))
    assert images["image_id"].tolist() == others["image_id"].tolist()
    np.testing.assert_allclose(np.stack(images["loss"]), np.stack(others["loss"]), rtol=STAGE_TOLERANCE, atol=1e-4)
    ((here,), (there,)) = runs_of(root), runs_of(alone)
    found, expected = histories(root, here), histories(alone, there)
    assert here.info.status == "FINISHED" and set(found) == set(expected)
    assert {"system/images_per_second", "fit/gradient_norm"} <= set(found)
    for name, points in found.items():
        assert [step for step, _ in points] == [step for step, _ in expected[name]]
    assert list((root / "data" / "checkpoints").glob("*/*")) == []


@pytest.mark.thorough
def test_a_stage_on_two_hosts_under_torchrun_gives_the_metrics_of_one_process(new_checkout, monkeypatch):
    alone, root = new_checkout(), new_checkout(num_nodes=2)
    _run_alone(alone, monkeypatch, "vae", "full", "0")
    (code, output), (other, empty) = _torchrun(root, "-m", "flows.finetune", "vae", "full", "0")
    assert (code, other) == (0, 0), output + empty
    assert "2 devices on 2 hosts" in output and "finetune" not in empty
    _same_result(root, alone, "vae-full-0")


@pytest.mark.thorough
def test_a_stage_on_two_devices_that_lightning_starts_gives_the_metrics_of_one(new_checkout, monkeypatch):
    """Two phases: the processes that the first starts work in the second, too."""
    alone, root = new_checkout(), new_checkout(devices=2)
    _run_alone(alone, monkeypatch, "vae", "lpft", "0")
    command = [sys.executable, "-m", "flows.finetune", "vae", "lpft", "0"]
    done = subprocess.run(command, env=_environment(), capture_output=True, text=True, cwd=root, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 devices on 1 host") == 1
    _same_result(root, alone, "vae-lpft-0")
