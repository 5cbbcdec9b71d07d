"""The contract of every file in components/models/backbones, and what each says on its own."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from components.base.config import kinds
from components.base.errors import SettingsError
from components.models.backbone import Backbone
from components.models.weights_file import load_encoder, save_encoder

SIDE = 32


def backbones() -> list[str]:
    names = list(kinds("models.backbones"))
    assert len(names) >= 3, "the folder of backbones was not found"
    return names


def build(kind: str) -> Backbone:
    return kinds("models.backbones")[kind]()


@pytest.fixture(scope="module", params=backbones())
def backbone(request):
    return build(request.param)


@pytest.fixture(scope="module")
def encoder(backbone):
    torch.manual_seed(0)
    return backbone.build()


@pytest.fixture
def images():
    return torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def test_kind_is_the_name_of_the_file(backbone):
    assert type(backbone).__module__.rpartition(".")[2] == backbone.kind


def test_features_are_finite_and_of_the_promised_size(encoder, images):
    features = encoder(images)
    assert features.shape == (2, encoder.feature_dim)
    assert features.isfinite().all()


def test_features_are_the_mean_of_the_map(encoder, images):
    encoder.eval()
    side = SIDE // 32
    assert encoder.map(images).shape[:2] == (2, encoder.feature_dim)
    assert encoder.map(images).shape[-1] >= side
    torch.testing.assert_close(encoder(images), encoder.map(images).flatten(2).mean(2))


def test_every_parameter_gets_a_gradient(encoder, images):
    encoder.train()
    encoder.zero_grad()
    encoder(images).square().sum().backward()
    without = [name for name, weight in encoder.named_parameters() if weight.grad is None]
    assert not without


def test_saved_and_loaded_gives_the_same_output(backbone, encoder, images, tmp_path):
    encoder.eval()
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, encoder, backbone, {"arm": "random"})
    loaded = load_encoder(path, backbone).eval()
    assert torch.equal(loaded(images), encoder(images))


def test_the_same_seed_draws_the_same_weights(backbone, encoder):
    torch.manual_seed(0)
    again = backbone.build()
    convolutions = [weight for weight in again.parameters() if weight.ndim == 4]
    originals = [weight for weight in encoder.parameters() if weight.ndim == 4]
    assert all(torch.equal(a, b) for a, b in zip(convolutions, originals, strict=True))


def test_a_cpu_profile_is_stated(backbone):
    assert backbone.cpu.precision in {"32-true", "bf16-mixed"}


def test_convnext_is_torchvisions_up_to_its_last_norm():
    from torchvision.models import convnext_tiny

    torch.manual_seed(0)
    whole = convnext_tiny(weights=None).eval()
    encoder = build("convnext_tiny").build().eval()
    state = {name: tensor for name, tensor in whole.state_dict().items() if "classifier.2" not in name}
    encoder.trunk.load_state_dict(state)
    images = torch.rand(1, 3, SIDE, SIDE)
    # torchvision pools, then normalises; at 32 pixels the map is one place and the order does not matter
    expected = whole.classifier[0](whole.avgpool(whole.features((images - encoder.mean) / encoder.std)))
    torch.testing.assert_close(encoder(images), expected.flatten(1))


def test_an_unknown_timm_name_is_answered_with_those_near_it():
    with pytest.raises(SettingsError, match=r"backbone.name = 'resnet19'.*resnet18.*params.yaml"):
        kinds("models.backbones")["timm"](name="resnet19").build()


def test_a_timm_name_cannot_reach_a_hub():
    with pytest.raises(ValidationError, match="name"):
        kinds("models.backbones")["timm"](name="hf-hub:somebody/net")


@pytest.mark.parametrize("name", ["test_vit"])
def test_a_net_without_a_map_is_refused(name):
    with pytest.raises(SettingsError, match=f"backbone.name = '{name}'"):
        kinds("models.backbones")["timm"](name=name).build()


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext"])
def test_other_timm_nets_fit(name, images):
    encoder = kinds("models.backbones")["timm"](name=name).build()
    assert encoder(images).shape == (2, encoder.feature_dim)
