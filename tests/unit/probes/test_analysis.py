"""Probes by stage and arm: features are timm's, alarms name what an arm is not above."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from components.models.backbones.timm import Config as Timm
from components.models.encoder import to_tensor
from components.probes.analysis import EncoderProbes, LabelledFeatures, pooled_maps, probe_encoder, summarise
from components.probes.linear import Probed, probe
from components.probes.record import as_metrics, as_record

PROBED = Probed(features=4, train_balanced_accuracy=1.0, balanced_accuracy=0.5, macro_auroc=0.7, effective_rank=3.0)


def encoder_probes(arm: str, seed: int, *stages: float, together: float) -> EncoderProbes:
    each = [replace(PROBED, balanced_accuracy=value) for value in (*stages, together)]
    return EncoderProbes(arm, seed, tuple(each[:-1]), each[-1], np.zeros((0, 3)))


def study(vae: list[float]) -> list[EncoderProbes]:
    floor = [0.30, 0.34, 0.32]
    return [
        *(encoder_probes("vae", seed, 0.2, 0.4, 0.3, together=value) for seed, value in enumerate(vae)),
        *(encoder_probes("random", seed, 0.3, 0.2, 0.1, together=value) for seed, value in enumerate(floor)),
        *(encoder_probes("colour", seed, 0.2, together=0.2) for seed in range(3)),
    ]


def test_features_are_the_pooled_maps_of_the_encoder() -> None:
    torch.manual_seed(0)
    encoder = Timm().build()
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    labels = np.array([0, 1, 0, 1, 0])
    found = pooled_maps(encoder, [to_tensor(pixels[:3]), to_tensor(pixels[3:])], labels)
    images = (to_tensor(pixels).float() / 255 - encoder.mean) / encoder.std
    with torch.no_grad():
        maps = encoder.trunk.eval().forward_intermediates(images, intermediates_only=True)
    for own, other in zip(found.maps[:-1], maps[:-1], strict=True):
        np.testing.assert_allclose(own, other.mean((2, 3)).numpy(), atol=1e-5)


def test_stages_are_probed_alone_and_side_by_side() -> None:
    rng = np.random.default_rng(1)
    train, val = (
        LabelledFeatures(tuple(rng.normal(size=(60, size)).astype(np.float32) for size in (2, 5)), np.arange(60) % 3)
        for _ in range(2)
    )
    found = probe_encoder("vae", 4, train, val)
    assert found.stages == tuple(probe(train.maps[k], train.labels, val.maps[k], val.labels) for k in range(2))
    assert found.together == probe(np.hstack(train.maps), train.labels, np.hstack(val.maps), val.labels)
    assert (found.arm, found.seed) == ("vae", 4)


def test_an_arm_that_is_not_above_a_floor_is_named_with_its_paired_difference() -> None:
    arms = {each.arm: each for each in summarise(
        study([0.28, 0.33, 0.29]), floors=["random", "colour"], found={"vae": ["posterior collapse"]}, confidence=0.95
    )}  # fmt: skip
    paired = stats.ttest_1samp(np.array([-0.02, -0.01, -0.03]), 0).confidence_interval(0.95)
    low, high = 100 * paired.low, 100 * paired.high
    first, second = arms["vae"].alarms
    assert first == "posterior collapse"
    assert second == (
        "not above random: balanced accuracy of the probe on val 30.0 %, of random 32.0 % "
        f"(-2.0 points, interval over seeds {low:+.1f} to {high:+.1f})"
    )
    assert arms["random"].alarms == arms["colour"].alarms == ()
    assert (arms["colour"].is_fixed, arms["vae"].is_fixed) == (True, False)


def test_an_arm_above_all_floors_has_no_alarm() -> None:
    arm = summarise(study([0.4, 0.5, 0.45]), floors=["random", "colour"], found={}, confidence=0.95)[0]
    assert arm.alarms == ()
    assert arm.encoders[0].best == 2
    assert arm.accuracy.mean == pytest.approx(0.45)


def test_metrics_are_means_over_seeds_and_the_record_is_plain() -> None:
    arms = summarise(study([0.28, 0.33, 0.29]), floors=["random"], found={}, confidence=0.95)
    metrics = as_metrics(arms)
    assert metrics["vae/balanced_accuracy"] == pytest.approx(0.30)
    assert (metrics["vae/best_stage"], metrics["vae/last_map"], metrics["vae/alarms"]) == pytest.approx((0.4, 0.3, 1))
    record = as_record(arms, (), train_images=10, val_images=5)
    assert record["arms"][0]["encoders"][1]["stages"][2]["balanced_accuracy"] == 0.3
