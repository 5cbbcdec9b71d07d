"""The VAE's terms against torch.distributions, closed forms and quadrature; its training on one batch."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal, kl_divergence

from components.base.config import kinds
from components.models.encoder import Encoder
from components.models.standardised_features import StandardisedFeatures
from components.pretraining.vae.learner import VaeLearner, VaeObjective, measure
from components.pretraining.vae.likelihood import PixelVariable
from components.pretraining.vae.model import (
    LOG_VAR_BOUND,
    VAE,
    Decoder,
    active_units,
    gaussian_kl,
    gaussian_nll,
    kl_weight,
    last_map_side,
    penalised_kl,
    sample_posterior,
)
from components.training.pretraining.image_changes import ImageChanges

SIDE, LATENTS = 32, 6
OBJECTIVE = VaeObjective(noise_variance=0.05, beta=1.0, warmup_steps=0, free_nats=0.0)


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small_encoder() -> Encoder:
    return kinds("models.backbones")["timm"](name="test_efficientnet").build()


def pixel_vae(encoder: Encoder, side: int = SIDE, width: int = 32, reads="last_map") -> VAE:
    decoder = Decoder(LATENTS, side, width, last_map_side(encoder, side))
    return VAE(StandardisedFeatures(encoder, reads), LATENTS, decoder, PixelVariable())


def small_vae(side: int = SIDE) -> VAE:
    torch.manual_seed(0)
    return pixel_vae(small_encoder(), side)


@pytest.fixture
def vae():
    return small_vae()


@pytest.fixture
def batch():
    """Sixteen discs of different place and colour, uint8 (16, 3, S, S)."""
    generator = torch.Generator().manual_seed(3)
    places, colours = torch.rand(16, 2, 1, 1, generator=generator), torch.rand(16, 3, 1, 1, generator=generator)
    axis = torch.linspace(0, 1, SIDE)
    distance = ((axis[:, None] - places[:, :1]) ** 2 + (axis[None, :] - places[:, 1:]) ** 2).sqrt()
    return ((0.8 - colours * (distance < 0.3) * 0.7) * 255).round().to(torch.uint8)


def test_kl_is_that_of_torch_distributions():
    mean, log_var = draws(5, 7), draws(5, 7, seed=1)
    expected = kl_divergence(Normal(mean, (0.5 * log_var).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(gaussian_kl(mean, log_var), expected)


def test_kl_is_zero_at_the_prior_and_nowhere_below():
    assert torch.equal(gaussian_kl(torch.zeros(1, 3), torch.zeros(1, 3)), torch.zeros(1, 3))
    assert (gaussian_kl(draws(100, 4), draws(100, 4, seed=1)) >= 0).all()


def test_nll_is_that_of_torch_distributions_with_its_constant():
    images, expected = draws(4, 3, 8, 8), draws(4, 3, 8, 8, seed=1)
    likelihood = Independent(Normal(expected, math.sqrt(0.05)), 3)
    torch.testing.assert_close(gaussian_nll(images, expected, torch.tensor(0.05)), -likelihood.log_prob(images))


def test_reparametrised_draws_have_the_posteriors_moments():
    mean, log_var = torch.tensor([[1.5, -2.0]]), torch.tensor([[0.4, -1.0]])
    sample = sample_posterior(mean, log_var, draws(200_000, 2))
    torch.testing.assert_close(sample.mean(0), mean[0], atol=0.02, rtol=0)
    torch.testing.assert_close(sample.var(0), log_var[0].exp(), atol=0.02, rtol=0.02)


def test_the_elbo_of_a_linear_gaussian_model_touches_the_evidence_at_its_posterior_alone():
    """x = W z + noise has a closed evidence N(0, W W' + v I) and posterior (Bishop 2006, eq. 12.35, 12.42)."""
    variance, weights, x = 0.3, draws(5, 1).double(), draws(5, seed=1).double()
    evidence = MultivariateNormal(torch.zeros(5).double(), weights @ weights.T + variance * torch.eye(5).double())
    precision = 1 + (weights.T @ weights).squeeze() / variance
    mean, var = (weights.T @ x).squeeze() / variance / precision, 1 / precision

    def elbo(mean: torch.Tensor, var: torch.Tensor) -> float:
        nodes = torch.linspace(-9, 9, 4001, dtype=torch.float64)  # quadrature over the posterior's standard normal
        shares = torch.softmax(-0.5 * nodes**2, 0)
        latents = sample_posterior(mean, var.log(), nodes)[:, None]
        images = (latents @ weights.T).view(-1, 5, 1, 1)
        losses = gaussian_nll(x.view(1, 5, 1, 1).expand_as(images), images, torch.tensor(variance, dtype=torch.float64))
        return float(-(shares * losses).sum() - gaussian_kl(mean, var.log()))

    truth = float(evidence.log_prob(x))
    assert elbo(mean, var) == pytest.approx(truth, abs=1e-9)
    assert elbo(mean + 0.3, var) < truth - 1e-3
    assert elbo(mean, var * 2) < truth - 1e-3


def test_free_nats_are_a_floor_under_each_latents_batch_mean():
    kl = torch.tensor([[0.0, 1.0, 4.0], [0.2, 2.0, 0.0]])
    assert float(penalised_kl(kl, 0.0)) == pytest.approx(0.1 + 1.5 + 2.0)
    assert float(penalised_kl(kl, 0.5)) == pytest.approx(0.5 + 1.5 + 2.0)


def test_the_kls_weight_rises_on_a_line_and_stays():
    assert [kl_weight(0.4, step, 4) for step in range(6)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    assert kl_weight(0.4, 0, 0) == 0.4


def test_a_collapsed_latent_is_not_active():
    means = torch.stack([draws(50), 0.01 * draws(50, seed=1), torch.zeros(50)], dim=1)
    assert active_units(means) == 1


def test_log_variances_are_bounded_and_never_lose_their_gradient(vae):
    features = torch.full((1, vae.encoder.feature_dim), 30.0, requires_grad=True)
    _, log_var = vae.eval().read(features)
    assert log_var.abs().max() <= LOG_VAR_BOUND
    log_var.sum().backward()
    assert features.grad is not None and features.grad.abs().sum() > 0


@pytest.mark.parametrize("side", [32, 48, 50, 64])
def test_the_decoder_gives_images_of_any_size(side):
    vae = small_vae(side)
    expected, mean, log_var = vae(torch.rand(2, 3, side, side), torch.randn(2, LATENTS))
    assert expected.shape == (2, 3, side, side)
    assert mean.shape == log_var.shape == (2, LATENTS)
    assert expected.min() >= 0 and expected.max() <= 1


def test_finding_the_maps_side_changes_no_statistics():
    encoder = small_encoder()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    assert last_map_side(encoder, SIDE) == 1
    assert encoder.training
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())


def test_every_parameter_gets_a_gradient(vae, batch):
    learner = VaeLearner(vae, OBJECTIVE, lambda module: None)
    learner.training_step(batch, 0)["loss"].backward()
    assert not [name for name, weight in vae.named_parameters() if weight.grad is None]


def test_the_loss_is_the_sum_of_its_terms_per_value_of_the_image(vae, batch):
    terms = VaeLearner(vae, replace(OBJECTIVE, beta=0.3), lambda module: None).training_step(batch, 0)
    expected = (terms["reconstruction"] + 0.3 * terms["kl"]) / (3 * SIDE * SIDE)
    torch.testing.assert_close(terms["loss"], expected)


def test_one_batch_overfits(vae, batch):
    torch.manual_seed(0)
    constant = gaussian_nll(
        batch.float() / 255, (batch.float() / 255).mean((0, 2, 3), keepdim=True), torch.tensor(0.01)
    ).mean()
    optimiser = torch.optim.AdamW(vae.parameters(), lr=3e-3)
    images, numbers = batch.float() / 255, 3 * SIDE * SIDE
    for _ in range(120):
        expected, mean, log_var = vae(images, torch.randn(16, LATENTS))
        loss = gaussian_nll(images, expected, torch.tensor(0.01)).mean() + gaussian_kl(mean, log_var).sum(1).mean()
        optimiser.zero_grad()
        (loss / numbers).backward()
        optimiser.step()
    vae.train()
    reconstruction = gaussian_nll(images, vae.decode(vae.encode(images)[0]), torch.tensor(0.01)).mean()
    volume = 0.5 * numbers * math.log(2 * math.pi * 0.01)
    assert reconstruction - volume < 0.3 * (constant - volume)


def test_measured_terms_do_not_depend_on_batches_or_calls(vae, batch):
    vae.eval()
    together, means = measure(vae, [batch], 0.05)
    apart, _ = measure(vae, [batch[:5], batch[5:]], 0.05)
    assert together == pytest.approx(apart, rel=1e-4)
    assert means.shape == (16, LATENTS)
    assert measure(vae, [batch], 0.05)[0] == together


def test_measured_elbo_is_minus_reconstruction_and_kl(vae, batch):
    vae.eval()
    row, _ = measure(vae, [batch], 0.05)
    assert row["elbo"] == pytest.approx(-(row["reconstruction"] + row["kl"]))
    assert row["elbo_per_dimension"] == pytest.approx(row["elbo"] / (3 * SIDE * SIDE))


def test_decoder_channels_halve_while_the_side_doubles():
    decoder = Decoder(LATENTS, image_size=64, width=128, side=2)
    shapes = []
    for stage in decoder.stages:
        stage.register_forward_hook(lambda _m, _i, output: shapes.append(tuple(output.shape[1:])))
    decoder(torch.zeros(1, LATENTS))
    assert shapes == [(64, 4, 4), (32, 8, 8), (16, 16, 16), (16, 32, 32), (16, 64, 64)]


def test_an_encoder_of_stride_one_needs_no_doubling():
    encoder = Encoder(nn.Conv2d(3, 4, 1), feature_dim=4)
    assert len(pixel_vae(encoder, 16, 16).decoder.stages) == 0


def test_the_target_is_the_whole_image_and_the_encoder_gets_the_corrupted_one(vae, batch):
    seen = []
    vae.encoder.register_forward_pre_hook(lambda _m, given: seen.append(given[0]))
    encode = vae.encoder.map
    vae.encoder.map = lambda images: seen.append(images) or encode(images)
    torch.manual_seed(0)
    plain = VaeLearner(vae, OBJECTIVE, lambda module: None).training_step(batch, 0)
    torch.manual_seed(0)
    hidden = VaeLearner(vae, OBJECTIVE, lambda module: None, ImageChanges(hidden=0.5, cell=8)).training_step(batch, 0)
    whole, masked = seen
    changed = (whole != masked).any(dim=1).float().mean()
    assert 0.4 < changed <= 0.5 and hidden["reconstruction"] != plain["reconstruction"]
