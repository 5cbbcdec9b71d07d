"""The contract of every file in components/models/backbones: a new file is tested without a change here."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from components.base.families import load_member, members
from components.models.backbone import CpuProfile, Normalisation
from components.models.encoder import weights_sha256
from components.models.weights_file import load_encoder, save_encoder

FAMILY = "models.backbones"
SIDE = 32


@pytest.fixture(scope="module", params=members(FAMILY))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def backbone(name):
    module = load_member(FAMILY, name)
    return module.Config(**getattr(module, "EXAMPLE", {}))


@pytest.fixture(scope="module")
def encoder(backbone):
    torch.manual_seed(0)
    return backbone.build()


@pytest.fixture
def images():
    return torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def test_the_family_is_found():
    assert {"convnext_tiny", "efficientnet_lite0", "timm"} <= set(members(FAMILY))


def test_kind_is_the_name_of_the_file(name, backbone):
    assert type(backbone).model_fields["kind"].default == backbone.kind == name


def test_the_first_line_says_what_it_is(name):
    assert (load_member(FAMILY, name).__doc__ or "").partition("\n")[0].strip()


def test_settings_are_plain_values(backbone):
    assert type(backbone)(**backbone.model_dump(mode="json")) == backbone


def test_importing_settings_imports_no_torch(repo):
    code = (
        "import sys\n"
        "from components.base.families import load_member, members\n"
        f"for name in members({FAMILY!r}):\n"
        f"    load_member({FAMILY!r}, name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repo, check=True)


def test_a_cpu_profile_is_stated(backbone):
    assert isinstance(backbone.cpu, CpuProfile)
    assert backbone.cpu.precision in {"32-true", "bf16-mixed"}


def test_the_normalisation_of_its_published_weights_is_stated(backbone):
    assert isinstance(backbone.expects, Normalisation)
    assert len(backbone.expects.mean) == len(backbone.expects.std) == 3
    assert min(backbone.expects.std) > 0


def test_features_are_finite_and_have_the_stated_size(encoder, images):
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


def test_the_same_seed_draws_the_same_weights_and_another_does_not(backbone):
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(weights_sha256(backbone.build()))
    assert drawn[0] == drawn[1] != drawn[2]


@torch.no_grad()
def test_every_readout_gives_the_features_that_it_states(encoder, images):
    encoder.eval()
    maps = [each.mean(dim=(2, 3)) for each in encoder.maps(images)]
    assert len(maps) > 1
    for readout, expected in ({"all_stages": torch.cat(maps, dim=1)} | dict(enumerate(maps, start=1))).items():
        found = encoder.read(readout)(images)
        torch.testing.assert_close(found, expected)
        assert found.shape[1] == encoder.feature_dim == sum(encoder.feature_sizes)
    encoder.read("last_map")
