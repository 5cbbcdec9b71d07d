"""Single backbones: ConvNeXt-Tiny against torchvision, and the networks of timm that are accepted or refused."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from components.base.errors import SettingsError
from components.models.backbone import CpuProfile
from components.models.backbones.convnext_tiny import Config as ConvNextTiny
from components.models.backbones.timm import Config as Timm

SIDE = 32


@pytest.mark.parametrize(("native", "precision"), [(True, "bf16-mixed"), (False, "32-true")])
def test_bfloat16_is_chosen_where_the_cpu_has_it(monkeypatch, native, precision):
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: native)
    assert CpuProfile.bfloat16_if_native() == CpuProfile(precision=precision, channels_last=True)
    assert ConvNextTiny().cpu == Timm(name="resnet18").cpu == CpuProfile(precision, channels_last=True)
    assert Timm(name="mobilenetv3_small_100").cpu.precision == "32-true"


def test_convnext_is_torchvisions_up_to_its_last_norm():
    from torchvision.models import convnext_tiny

    torch.manual_seed(0)
    whole = convnext_tiny(weights=None).eval()
    encoder = ConvNextTiny().build().eval()
    state = {name: tensor for name, tensor in whole.state_dict().items() if "classifier.2" not in name}
    encoder.trunk.load_state_dict(state)
    images = torch.rand(1, 3, SIDE, SIDE)
    # torchvision pools, then normalises; at 32 pixels the map has one position and the order does not matter
    expected = whole.classifier[0](whole.avgpool(whole.features((images - encoder.mean) / encoder.std)))
    torch.testing.assert_close(encoder(images), expected.flatten(1))


def test_an_unknown_timm_name_is_refused_with_similar_names():
    with pytest.raises(SettingsError, match=r"backbone.name = 'resnet19'.*resnet18.*params.yaml"):
        Timm(name="resnet19").build()


def test_a_timm_name_cannot_reach_a_hub():
    with pytest.raises(ValidationError, match="name"):
        Timm(name="hf-hub:somebody/net")


@pytest.mark.parametrize("name", ["test_vit"])
def test_a_network_without_a_map_is_refused(name):
    with pytest.raises(SettingsError, match=f"backbone.name = '{name}'"):
        Timm(name=name).build()


@pytest.mark.parametrize("name", ["test_resnet", "test_convnext"])
def test_other_timm_networks_fit(name):
    images = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    encoder = Timm(name=name).build()
    assert encoder(images).shape == (2, encoder.feature_dim)
