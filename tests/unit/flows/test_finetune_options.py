"""The options of fine-tuning: each has its effect, and a run with it continues exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from components.base.errors import SettingsError
from components.base.log import SilentLog
from components.data.pixels import read_pixels
from components.models.backbones.timm import Config as Timm
from components.models.classifier import predict
from components.models.classifier_file import load_classifier
from components.models.encoder import to_tensor
from components.models.layer_groups import depths
from components.models.weights_file import read_tensors, save_encoder
from components.statistics.metrics.log_loss import log_loss
from tests.unit.flows.small_finetuning import (
    BACKBONE,
    CLASSES,
    changed_finetune,
    encoder_of,
    fingerprints,
    stop_in_second_epoch,
    weights_of,
    without_settings,
)

OPTIONS = {
    "mixed": {"mixup": 0.4, "cutmix": 1.0, "label_smoothing": 0.1},
    "averaged": {"ema": 0.7, "clip": 0.5, "layer_decay": 0.7, "decay": "constant", "warm_up": 0.3},
    "half_frozen": {"freeze": 2, "ema": 0.7},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_interrupted_run_with_options_goes_on_to_the_same_classifier(run, settings, paths, monkeypatch, name):
    changed = changed_finetune(settings, **OPTIONS[name])
    plain, expected = run("twin"), run("twin", finetune=changed)
    assert expected["last"] != plain["last"]
    monkeypatch.setattr(SilentLog, "track", stop_in_second_epoch)
    with pytest.raises(KeyError, match="killed"):
        run(finetune=changed)
    monkeypatch.undo()
    assert run(finetune=changed) == expected
    weights, twin = weights_of(paths, "vae-full-0"), weights_of(paths, "twin-full-0")
    assert all(torch.equal(weights[key], twin[key]) for key in weights)


@pytest.mark.parametrize("option", [{name: value} for name, value in OPTIONS["averaged"].items()], ids=str)
def test_each_option_changes_what_is_learned(run, settings, option):
    assert run(finetune=changed_finetune(settings, **option))["last"] != run()["last"]


@pytest.mark.parametrize("imbalance", ["none", "weights", "sampling", "focal"])
def test_mixing_trains_with_every_way_to_meet_imbalance(run, settings, imbalance):
    metrics = run(finetune=changed_finetune(settings, **OPTIONS["mixed"], imbalance=imbalance))
    assert np.isfinite([metrics["last"]["fit/loss"], metrics["last"]["val/loss"]]).all()


def test_averaged_weights_are_those_that_are_measured_and_kept(run, settings, paths):
    metrics = run(finetune=changed_finetune(settings, ema=0.7))
    classifier = load_classifier(paths.classifiers / "vae-full-0.safetensors", BACKBONE, CLASSES)
    val = read_pixels(paths.pixels / "val")
    probabilities = predict(classifier, [to_tensor(val.take(np.arange(len(val))))])
    assert log_loss(val.labels(CLASSES), probabilities) == pytest.approx(metrics["best"]["val/loss"], rel=1e-4)


def test_frozen_stages_keep_weights_and_statistics_to_the_last_bit(run, settings, paths):
    run(finetune=changed_finetune(settings, freeze=2))
    before, after = read_tensors(paths.encoders / "vae-0.safetensors"), encoder_of(paths, "vae-full-0")
    trunk = BACKBONE.build().trunk
    found = depths(trunk, by_stage=True)
    layers = {name.rpartition(".")[0]: depth for name, depth in found.items()}
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    frozen = {f"trunk.{name}" for name in trunk.state_dict() if layers[name.rpartition(".")[0]] <= 2}
    assert any("running_mean" in name for name in frozen) and not frozen & changed
    assert changed == {f"trunk.{name}" for name in trunk.state_dict()} - frozen


def test_freezing_too_much_is_refused_before_anything_is_learned(run, settings):
    log = SilentLog()
    with pytest.raises(SettingsError, match=r"finetune.freeze = 9: expected at most 4"):
        run("vae", "lpft", log=log, finetune=changed_finetune(settings, freeze=9))
    assert log.points == []


def test_drop_path_acts_where_a_net_has_residual_branches(run, settings, paths):
    convnext = Timm(name="test_convnext")
    save_encoder(paths.encoders / "conv-0.safetensors", convnext.build(), convnext, {"arm": "conv"})
    dropping = changed_finetune(settings, drop_path=0.5)
    results = [
        run("conv", backbone=convnext, finetune=each)["last"] for each in (settings["finetune"], dropping, dropping)
    ]
    assert results[0] != results[1] == results[2]
    frozen = [run("conv", "frozen", backbone=convnext, **changes) for changes in ({"finetune": dropping}, {})]
    assert without_settings(frozen[0]) == without_settings(frozen[1])
    with pytest.raises(SettingsError, match=r"finetune.drop_path = 0.5: the backbone EfficientNet has no residual"):
        run(finetune=dropping)


def test_mixing_stands_in_the_fingerprint_of_what_is_mixed(run, settings):
    mixed, other = changed_finetune(settings, mixup=0.4), changed_finetune(settings, mixup=0.2)
    prints = [fingerprints(run(finetune=changed)) for changed in (settings["finetune"], mixed, other)]
    assert len({each["augmentation_sha256"] for each in prints}) == 3
    assert len({each["batches_sha256"] for each in prints}) == 1
    assert fingerprints(run("random", finetune=mixed)) == prints[1]
    unmixed = without_settings(run("vae", "frozen"))  # where the encoder learns nothing
    assert without_settings(run("vae", "frozen", finetune=mixed)) == unmixed
