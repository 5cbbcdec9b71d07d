"""The stage: encoders and packed train and val images in, a page and a record out; test images are not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from components.base.log import SilentLog
from components.base.run_id import encoder_name
from components.models.weights_file import save_encoder
from components.pretraining import random, vae
from flows.probe import probe
from flows.settings.training import Pretrain
from tests.unit.comparison.simulated_study import FOLDERS
from tests.unit.flows.predicted_study import ARMS, SEEDS, given, write_study
from tests.unit.training.small_trainings import BACKBONE, CLASSES

PRETRAIN = Pretrain.model_construct(arms={"vae": vae.Config(**vae.EXAMPLE), "random": random.Config()})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The vae's encoders are equal for all seeds, those of random weights differ."""
    write_study(tmp_path)
    shutil.rmtree(tmp_path / FOLDERS["pixels"] / "test")
    (tmp_path / FOLDERS["metrics"] / "pretrain").mkdir(parents=True)
    for arm in ARMS:
        for seed in SEEDS:
            name = encoder_name(arm, seed)
            torch.manual_seed(seed if arm == "random" else 7)
            save_encoder(
                tmp_path / FOLDERS["encoders"] / f"{name}.safetensors", BACKBONE.build(), BACKBONE, {"arm": arm}
            )
            values = {"images": 60, "epochs": 3, "trained": arm == "vae", "val/kl": 12.5}
            values |= {"alarms": ["dead decoder"]} if (arm, seed) == ("vae", 1) else {}
            (tmp_path / FOLDERS["metrics"] / "pretrain" / f"{name}.json").write_text(json.dumps(values))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_encoder_is_probed_and_alarms_are_shown(place: Path) -> None:
    log = SilentLog()
    metrics = probe.work(**given(log), pretrain=PRETRAIN)
    record = json.loads((place / FOLDERS["reports"] / "pretraining.json").read_text())
    page = (place / FOLDERS["reports"] / "pretraining.html").read_text()
    assert (record["train_images"], record["val_images"]) == (60, 18)
    vaes, randoms = (each["encoders"] for each in record["arms"])
    assert vaes[0]["together"] == vaes[1]["together"] and randoms[0]["together"] != randoms[1]["together"]
    means = {arm: sum(each["together"]["balanced_accuracy"] for each in own) / len(SEEDS) for arm, own in
             (("vae", vaes), ("random", randoms))}  # fmt: skip
    for arm, mean in means.items():
        assert metrics[f"{arm}/balanced_accuracy"] == pytest.approx(mean)
        assert mean > 1.5 / len(CLASSES)  # the brightness of an image shows its class
    alarms = record["arms"][0]["alarms"]
    assert alarms[0] == "dead decoder (seed 1)"
    assert (len(alarms) == 2) is (means["vae"] <= means["random"])
    assert record["arms"][1]["alarms"] == []
    assert "on_val" not in vaes[0]
    (difference,) = record["differences"]
    (other,) = set(means) - {difference["arm"]}
    assert difference["difference"]["mean"] == pytest.approx(means[difference["arm"]] - means[other], abs=1e-6)
    assert "dead decoder" in page and "180 image passes" in page and page.count("<h1>") == 1
    assert {path.name for _, path in log.artifacts} == {"pretraining.html", "pretraining.json"}
    assert any("vae: probe of all stages" in line and "dead decoder" in line for line in log.lines)
