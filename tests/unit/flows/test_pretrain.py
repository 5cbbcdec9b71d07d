"""The stage pretrain: encoder, curve and metrics of an arm, the same bytes each time."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest
import torch

from components.base.errors import DataError, SettingsError
from components.base.log import SilentLog
from components.models.encoder import weights_sha256
from components.models.published import LICENCES
from components.models.weights_file import load_encoder, read_header
from components.pretraining import vae
from flows.pretrain import pretrain
from flows.settings import load_settings
from flows.stage import write_metrics
from flows.stage_io.methods import describe_method
from tests.unit.pretraining.small_pretraining import BACKBONE, Lite, write_splits


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_splits(tmp_path_factory.mktemp("pixels"))


@pytest.fixture
def stage_arguments(folder, tmp_path, repo):
    settings = load_settings(repo / "params.yaml")
    outs = {name: tmp_path / name for name in ("encoders", "curves", "checkpoints", "metrics")}
    arms = {**settings.pretrain.arms, "vae": vae.Config(**vae.EXAMPLE)}
    for arm, kind in arms.items():
        write_metrics(tmp_path / "metrics" / "method", arm, describe_method(arm, kind))
    return {
        "backbone": BACKBONE,
        "pretrain": settings.pretrain.model_copy(update={"arms": arms}),
        "paths": settings.paths.model_copy(update={**outs, "pixels": folder}),
        "compute": settings.compute.model_copy(update={"device": "cpu"}),
    }


@pytest.mark.parametrize("arm", ["vae", "random"])
def test_the_stage_leaves_encoder_curve_and_numbers(stage_arguments, tmp_path, arm):
    log = SilentLog()
    metrics = pretrain.work(arm=arm, seed=5, log=log, **stage_arguments)
    path = tmp_path / "encoders" / f"{arm}-5.safetensors"
    assert log.words["weights/sha256"] == weights_sha256(load_encoder(path, BACKBONE))
    assert (read_header(path)["arm"], read_header(path)["seed"]) == (arm, 5)
    curve = pd.read_csv(tmp_path / "curves" / "pretrain" / f"{arm}-5.csv")
    trained = range(1, metrics["epochs"] + 1)
    assert list(curve.epoch) == (list(trained) if arm == "vae" else [0]) and metrics["trained"] is (len(trained) > 0)
    assert curve.iloc[-1]["val/effective_rank"] == pytest.approx(metrics["val/effective_rank"])
    assert metrics["images"] == 26
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_the_stage_gives_the_same_bytes_again_and_others_with_another_seed(stage_arguments, tmp_path):
    def made(seed):
        pretrain.work(arm="vae", seed=seed, log=SilentLog(), **stage_arguments)
        files = tmp_path / "encoders" / f"vae-{seed}.safetensors", tmp_path / "curves" / "pretrain" / f"vae-{seed}.csv"
        return [file.read_bytes() for file in files], weights_sha256(load_encoder(files[0], BACKBONE))

    (first, weights), again, (other, others) = made(0), made(0), made(1)
    assert again == (first, weights)
    assert weights != others and all(a != b for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(("arm", "draws"), [("imagenet", 1), ("random", 3)])
def test_published_weights_are_the_same_for_every_seed(stage_arguments, tmp_path, arm, draws):
    given = stage_arguments | {"backbone": Lite()}
    for seed in range(3):
        pretrain.work(arm=arm, seed=seed, log=SilentLog(), **given)
    files = sorted((tmp_path / "encoders").glob(f"{arm}-*.safetensors"))
    assert len(files) == 3
    assert len({weights_sha256(load_encoder(file, given["backbone"])) for file in files}) == draws


def test_an_arm_starts_from_the_random_weights_of_its_seed(stage_arguments, tmp_path):
    """With one seed, the arms differ in their method alone."""
    pretrain.work(arm="random", seed=1, log=SilentLog(), **stage_arguments)
    torch.manual_seed(1)
    drawn = weights_sha256(BACKBONE.build())
    assert weights_sha256(load_encoder(tmp_path / "encoders" / "random-1.safetensors", BACKBONE)) == drawn


def test_another_method_than_the_recorded_one_is_refused(stage_arguments, tmp_path):
    record = tmp_path / "metrics" / "method" / "vae.json"
    kept = json.loads(record.read_text())
    assert kept["kind"] == "vae" and kept["arm"] == "vae" and len(kept["sha256"]) == 64
    record.write_text(json.dumps(kept | {"sha256": "0" * 64}))
    with pytest.raises(DataError, match=r"vae.json: sha256 of arm vae changed since; .*: dvc repro method@vae"):
        pretrain.work(arm="vae", seed=0, log=SilentLog(), **stage_arguments)
    record.unlink()
    with pytest.raises(DataError, match=r"vae.json is missing, expected .*; dvc repro method@vae"):
        pretrain.work(arm="vae", seed=0, log=SilentLog(), **stage_arguments)


def test_an_unknown_arm_is_refused_with_the_names_of_all_arms(stage_arguments):
    with pytest.raises(SettingsError, match=r"arm 'vea' is none of pretrain.arms \['imagenet', 'random', 'vae'\]"):
        pretrain.work(arm="vea", seed=0, log=SilentLog(), **stage_arguments)


@pytest.mark.parametrize("arm", ["vae", "random"])
def test_an_arm_that_starts_from_random_weights_has_no_licence(stage_arguments, arm):
    metrics = pretrain.work(arm=arm, seed=0, log=SilentLog(), **stage_arguments)
    assert metrics["licence"] is None
    assert metrics["trained"] is (arm == "vae")


def test_the_licence_of_published_weights_is_in_the_metrics(stage_arguments):
    metrics = pretrain.work(arm="imagenet", seed=0, log=SilentLog(), **stage_arguments | {"backbone": Lite()})
    assert metrics["licence"] == asdict(LICENCES["package"])
    assert metrics["trained"] is False
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
