"""The stage pretrain: encoder, curve and metrics of an arm, the same bytes each time."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import SettingsError
from components.base.log import SilentLog
from components.models.encoder import weights_sha256
from components.models.weights_file import load_encoder, read_header
from components.pretraining import imagenet, vae
from flows.pretrain import pretrain
from flows.settings import load_settings
from tests.unit.pretraining.small_pretraining import BACKBONE, Lite, write_splits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_splits(tmp_path_factory.mktemp("pixels"))


@pytest.fixture
def stage_arguments(folder, tmp_path, repo):
    settings = load_settings(repo / "params.yaml")
    outs = {name: tmp_path / name for name in ("encoders", "curves", "checkpoints")}
    arms = {**settings.pretrain.arms, "vae": vae.Config(**vae.EXAMPLE)}
    return {
        "backbone": BACKBONE,
        "pretrain": settings.pretrain.model_copy(update={"arms": arms}),
        "paths": settings.paths.model_copy(update={**outs, "pixels": folder}),
        "compute": settings.compute.model_copy(update={"device": "cpu"}),
    }


@pytest.mark.parametrize("arm", ["vae", "random"])
def test_the_stage_leaves_encoder_curve_and_numbers(stage_arguments, tmp_path, arm):
    log = SilentLog()
    metrics = pretrain.work(arm=arm, log=log, **stage_arguments)
    path = tmp_path / "encoders" / f"{arm}.safetensors"
    assert log.words["weights/sha256"] == weights_sha256(load_encoder(path, BACKBONE))
    assert read_header(path)["arm"] == arm and read_header(path)["settings"]["seed"] == 0
    curve = pd.read_csv(tmp_path / "curves" / "pretrain" / f"{arm}.csv")
    trained = range(1, metrics["epochs"] + 1)
    assert list(curve.epoch) == (list(trained) if arm == "vae" else [0]) and metrics["trained"] is (len(trained) > 0)
    assert curve.iloc[-1]["val/effective_rank"] == pytest.approx(metrics["val/effective_rank"])
    assert metrics["images"] == 26
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_the_stage_gives_the_same_bytes_again(stage_arguments, tmp_path):
    files = [tmp_path / "encoders" / "vae.safetensors", tmp_path / "curves" / "pretrain" / "vae.csv"]
    pretrain.work(arm="vae", log=SilentLog(), **stage_arguments)
    before = [file.read_bytes() for file in files]
    pretrain.work(arm="vae", log=SilentLog(), **stage_arguments)
    assert [file.read_bytes() for file in files] == before


def test_an_unknown_arm_is_refused_with_the_names_of_all_arms(stage_arguments):
    with pytest.raises(SettingsError, match=r"arm 'vea' is none of pretrain.arms \['imagenet', 'random', 'vae'\]"):
        pretrain.work(arm="vea", log=SilentLog(), **stage_arguments)


@pytest.mark.parametrize("arm", ["vae", "random"])
def test_an_arm_that_starts_from_random_weights_has_no_licence(stage_arguments, arm):
    metrics = pretrain.work(arm=arm, log=SilentLog(), **stage_arguments)
    assert metrics["licence"] is None
    assert metrics["trained"] is (arm == "vae")


def test_the_licence_of_published_weights_is_in_the_metrics(stage_arguments):
    metrics = pretrain.work(arm="imagenet", log=SilentLog(), **stage_arguments | {"backbone": Lite()})
    assert metrics["licence"] == asdict(imagenet.LICENCES["package"])
    assert metrics["trained"] is False
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
