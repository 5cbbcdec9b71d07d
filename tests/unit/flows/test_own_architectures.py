"""Arms with an architecture of their own, through pretraining, every protocol of fine-tuning, and prediction."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from components.base.log import SilentLog
from components.base.run_id import FinetuneProtocol, RunId
from components.explanations.attribution import attribute
from components.explanations.map_check import DEPTHS
from components.explanations.weight_randomisation import build_random_classifier, randomise_cascading
from components.models.classifier import Classifier, build_head
from components.models.weights_file import load_encoder, read_header
from components.pretraining import colour, pca
from components.statistics.runs import Run, check_conditions
from components.training.settings import Compute
from flows.pretrain import pretrain
from flows.settings.training import Pretrain
from flows.stage import write_metrics
from flows.stage_io.methods import describe_method
from flows.stage_io.predictions import open_inference_session, predict_file, read_packed
from tests.unit.flows.small_finetuning import (
    BACKBONE,
    CLASSES,
    SIZE,
    changed_finetune,
    encoder_of,
    weights_of,
    write_random_split,
)

ARMS = {"colour": colour.Config(), "pca": pca.Config(**pca.EXAMPLE)}


@pytest.fixture
def arms(paths, params):
    """Encoders of both methods; the settings' backbone is a network."""
    write_random_split(paths.pixels / "unlabelled", 6, 3)
    given = {"backbone": BACKBONE, "pretrain": Pretrain(arms=ARMS), "paths": paths, "compute": params.compute}
    for arm, method in ARMS.items():
        write_metrics(paths.metrics / "method", arm, describe_method(arm, method))
        pretrain.work(arm=arm, seed=0, log=SilentLog(), **given)
    return paths


def test_the_encoder_s_file_has_the_architecture_and_says_that_the_arm_is_a_baseline(arms):
    for arm, method in ARMS.items():
        header = read_header(arms.encoders / f"{arm}-0.safetensors")
        assert header["backbone"] == method.backbone.model_dump() and header["baseline"] is True
        assert not list(load_encoder(arms.encoders / f"{arm}-0.safetensors", BACKBONE).parameters())


@pytest.mark.parametrize("protocol", ["frozen", "full", "lpft"])
@pytest.mark.parametrize("arm", list(ARMS))
def test_every_protocol_trains_the_head_alone(arm, protocol, arms, run, settings):
    finetune = changed_finetune(settings, freeze=2, layer_decay=0.7, drop_path=0.1, ema=0.5, clip=1.0)
    finetune = settings["finetune"] if protocol == "frozen" else finetune
    metrics = run(arm, protocol, finetune=finetune)
    assert metrics["architecture"] == ARMS[arm].backbone.model_dump() and metrics["baseline"] is True
    before = load_encoder(arms.encoders / f"{arm}-0.safetensors", BACKBONE).state_dict()
    after = encoder_of(arms, f"{arm}-{protocol}-0")
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    first = build_head([len(after["trunk.components"]) if arm == "pca" else 48], 8, 0.2, 3, seed=0)[1].weight
    assert not torch.equal(weights_of(arms, f"{arm}-{protocol}-0")["head.1.weight"], first)


def test_conditions_are_those_of_a_network_but_for_the_shape_of_the_head(arms, run):
    names = [RunId(arm, FinetuneProtocol.FROZEN, 0) for arm in ("vae", "twin", *ARMS)]
    runs = [Run(name, pd.DataFrame(), summary=run(name.arm, "frozen")) for name in names]
    assert len({each.summary["head_init_sha256"] for each in runs}) == 3
    assert list(check_conditions(runs)) == ["frozen-0"]


def test_predictions_are_those_of_the_last_measurement(arms, run):
    metrics = run("colour", "frozen")
    examples = {"val": read_packed(arms.pixels / "val", CLASSES)}
    compute = Compute(device="cpu", threads=1, precision="auto", compile=False)
    session = open_inference_session(BACKBONE, compute, SilentLog())
    path = arms.classifiers / "colour-frozen-0.safetensors"
    table = predict_file(path, examples, classes=CLASSES, backbone=BACKBONE, session=session)
    predicted = table[[f"p_{name}" for name in CLASSES]].to_numpy().argmax(1)
    right = (predicted == examples["val"].labels).mean()
    assert right == pytest.approx(metrics["best"]["val/accuracy"])


@pytest.mark.parametrize("arm", list(ARMS))
def test_predictions_are_explained_and_compared_with_randomised_copies(arm):
    """Integrated gradients find the whole change of the logit, through sorted pixels too."""
    torch.manual_seed(0)
    backbone = ARMS[arm].backbone
    encoder = backbone.build()
    classifier = Classifier(encoder, build_head(encoder.feature_sizes, 8, 0.0, 3, seed=0)).eval()
    images = torch.rand(4, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    found = attribute(classifier, images, torch.tensor([0, 1, 2, 0]), steps=64)
    assert np.isfinite(found.maps).all() and np.abs(found.maps).max() > 0
    assert np.abs(found.missing).max() < 0.05 * np.abs(found.change).max()
    copies = dict(randomise_cascading(classifier, build_random_classifier(backbone, classifier, 0), images))
    assert list(copies) == list(DEPTHS)
    with torch.no_grad():
        assert not any(torch.allclose(copy(images), classifier(images)) for copy in copies.values())
