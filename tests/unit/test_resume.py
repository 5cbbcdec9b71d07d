"""kill -9 at any moment, then the same command: the same weights, curve and numbers to the last bit.

A server that has imported torch once forks a process for each attempt, so that a kill costs a second, not ten.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from components.backbones.timm import Config as Timm
from components.encoder import save_encoder
from components.log import SilentLog
from components.pixels import write_pixels
from components.pretraining.vae import Config as Vae
from flows.finetune import finetune
from flows.pretrain import pretrain
from flows.settings import PARAMS, Labels, Settings, load_settings

REPO = Path(__file__).resolve().parents[2]
BACKBONE = Timm(name="test_efficientnet")
CLASSES = ("benign", "malignant", "vascular")
SIDE = 32
SEED = 20  # of the moments


class Told(SilentLog):
    """Whatever is told stays on disk, also from a process that dies."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path

    def metrics(self, values, step=None):
        with self.path.open("a") as file:
            file.write(json.dumps([step, dict(values)]) + "\n")


def sections(root: Path) -> dict:
    settings: Settings = load_settings(REPO / PARAMS)
    changed = {name: root / name for name in type(settings.paths).model_fields}
    compute = {"device": "cpu", "threads": 1, "checkpoint_steps": 1}
    return {
        "backbone": BACKBONE,
        "paths": settings.paths.model_copy(update=changed),
        "compute": settings.compute.model_copy(update=compute),
        "log": Told(root / "told.jsonl"),
        "settings": settings,
    }


def train_vae(root: Path) -> dict:
    given = sections(root)
    settings = given.pop("settings")
    vae = Vae(epochs=3, batch_size=6, latent_dim=4, decoder_width=16, warmup_epochs=1)
    arms = settings.pretrain.model_copy(update={"arms": {"vae": vae}})
    return dict(pretrain.work(arm="vae", pretrain=arms, **given))


def train_classifier(root: Path) -> dict:
    given = sections(root)
    settings = given.pop("settings")
    schedule = {"epochs": 3, "learning_rate": 0.01}
    changes = {"full": schedule, "batch_size": 6, "head": {"hidden": 8, "dropout": 0.2}}
    tiny = type(settings.finetune).model_validate(settings.finetune.model_dump() | changes)
    labels = Labels(scheme="three", schemes={"three": {name: (name,) for name in CLASSES}})
    given |= {"labels": labels, "augment": settings.augment, "finetune": tiny}
    return finetune.work(arm="vae", protocol="full", seed=0, **given)


TRAININGS = {"pretraining": train_vae, "fine-tuning": train_classifier}
MADE = {
    "pretraining": ["encoders/vae.safetensors", "curves/pretrain/vae.csv", "numbers.json"],
    "fine-tuning": ["classifiers/vae-full-0.safetensors", "curves/finetune/vae-full-0.csv", "numbers.json"],
}


def attempt(training: str, root: Path, last_move: int | None = None) -> None:
    """The command; with `last_move` it is killed just before it moves a file or folder into place that often."""
    if last_move is not None:
        _die_at_move(last_move)
    numbers = TRAININGS[training](root)
    (root / "numbers.json").write_text(json.dumps(numbers, sort_keys=True))


def _die_at_move(number: int) -> None:
    moves, real = iter(range(1, number)), Path.replace

    def replace(self, target):
        if next(moves, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(self, target)

    Path.replace = replace


@pytest.fixture(scope="module")
def start():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", str(REPO))
        patch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, "albumentations", "timm", "components.vae"])

        def start(*given, **named):
            process = context.Process(target=partial(attempt, *given, **named), daemon=True)
            process.start()
            return process

        yield start


def _write_images(root: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in {"train": 21, "unlabelled": 5, "val": 9}.items():
        classes = np.arange(count) % len(CLASSES)
        images = rng.integers(0, 60, (count, SIDE, SIDE, 3)) + 60 * classes[:, None, None, None]
        names = [f"{split}_{row:03d}" for row in range(count)]
        columns = {"image_id": names, "label": [CLASSES[k] for k in classes], "lesion_id": names, "group": names}
        write_pixels(root / "pixels" / split, images.astype(np.uint8), pd.DataFrame(columns), SIDE)
    torch.manual_seed(0)
    save_encoder(root / "encoders" / "vae.safetensors", BACKBONE.build(), BACKBONE, {"arm": "vae"})


@pytest.fixture(scope="module")
def straight(start, tmp_path_factory):
    """Both trainings without interruption: what they made, and how many seconds it took."""
    found = {}
    for training in TRAININGS:
        root = tmp_path_factory.mktemp("straight")
        _write_images(root)
        seconds = []
        for _ in range(2):  # the first also pays for what is loaded late
            shutil.rmtree(root / "checkpoints", ignore_errors=True)
            (root / "told.jsonl").unlink(missing_ok=True)
            began = time.monotonic()
            process = start(training, root)
            process.join(120)
            assert process.exitcode == 0
            seconds.append(time.monotonic() - began)
        found[training] = root, seconds[-1]
    return found


def _kill_at(process, seconds: float) -> None:
    """Unless the process was done before."""
    process.join(seconds)
    process.kill()
    process.join()


def _kill_while_writing(process, folder: Path, states: int) -> bool:
    """As soon as a state is seen half written, after `states` of them; whether one really was left so."""
    for _ in range(states):
        if not _wait(lambda: _unfinished(folder), process) or not _wait(lambda: not _unfinished(folder), process):
            return False
    _wait(lambda: _unfinished(folder), process)
    process.kill()
    process.join()
    return bool(_unfinished(folder))


def _wait(seen, process) -> bool:
    while process.is_alive():
        for _ in range(200):
            if seen():
                return True
    return False


def _unfinished(folder: Path) -> list[Path]:
    return list(folder.glob("*/*/*.part"))


@pytest.mark.parametrize("training", list(TRAININGS))
def test_killed_at_any_moment_and_started_again_equals_one_run(training, start, straight, tmp_path):
    whole, seconds = straight[training]
    moments, kills, torn = random.Random(SEED), 0, 0
    for _ in range(3):
        root = tmp_path / f"chain{kills}"
        _write_images(root)
        for _ in range(3):
            _kill_at(start(training, root), moments.uniform(0.1, 0.9) * seconds)
        process = start(training, root, last_move=3)  # between the moves of the former and of the newest state
        process.join(120)
        torn += _kill_while_writing(start(training, root), root / "checkpoints", moments.randrange(3))
        kills += 5
        process = start(training, root)
        process.join(120)
        assert process.exitcode == 0
        for name in MADE[training]:
            assert (root / name).read_bytes() == (whole / name).read_bytes(), f"{name} after {kills} kills"
        _same_rows_told(root, whole)
        assert not any((root / "checkpoints").glob("*/*")), "the resume state was not taken away"
    assert kills == 15
    assert torn, "no kill fell into the writing of a state"


def _same_rows_told(root: Path, whole: Path) -> None:
    """Every epoch is told, and what is told twice is the same twice: a log can drop it by name and step."""
    expected = dict(_points(whole))
    told = _points(root)
    assert {key for key, _ in told} == set(expected)
    assert all(expected[key] == value for key, value in told)


def _points(root: Path) -> list[tuple[tuple[int, str], float]]:
    lines = [json.loads(line) for line in (root / "told.jsonl").read_text().splitlines()]
    return [((step, name), v) for step, row in lines for name, v in row.items() if not name.startswith("system/")]
