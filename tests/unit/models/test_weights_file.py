"""Files of weights: written whole, equal byte for byte, refused under other settings."""

from __future__ import annotations

import json
import struct
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from components.base.config import kinds
from components.base.errors import CheckpointError
from components.base.families import load_member
from components.models.weights_file import (
    KEY,
    count_parameters,
    load_encoder,
    read_architecture,
    read_header,
    read_tensors,
    save_encoder,
    save_tensors,
)

Timm = kinds("models.backbones")["timm"]
BACKBONE = Timm(name="test_efficientnet")


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return BACKBONE.build().eval()


@pytest.fixture
def path(encoder, tmp_path):
    path = tmp_path / "encoders" / "vae.safetensors"
    save_encoder(path, encoder, BACKBONE, {"arm": "vae", "settings": {"seed": 0, "kind": "vae"}})
    return path


def test_normalisation_is_no_part_of_the_file(path):
    assert not {"mean", "std"} & set(read_tensors(path))


def test_the_header_says_what_the_encoder_is(path):
    assert read_header(path) == {
        "kind": "encoder",
        "version": 1,
        "backbone": {"kind": "timm", "name": "test_efficientnet"},
        "arm": "vae",
        "settings": {"seed": 0, "kind": "vae"},
    }


def test_the_metadata_has_one_sorted_key(path):
    raw = path.read_bytes()
    head = json.loads(raw[8 : 8 + struct.unpack("<Q", raw[:8])[0]])
    assert list(head["__metadata__"]) == [KEY]
    assert head["__metadata__"][KEY] == json.dumps(read_header(path), sort_keys=True)


def test_equal_encoders_make_equal_bytes(path, encoder, tmp_path):
    other = tmp_path / "other.safetensors"
    channels_last = load_encoder(path, BACKBONE).to(memory_format=torch.channels_last)
    save_encoder(other, channels_last, BACKBONE, {"settings": {"kind": "vae", "seed": 0}, "arm": "vae"})
    assert other.read_bytes() == path.read_bytes()


def test_nothing_unfinished_is_left_behind(path, encoder):
    before = path.read_bytes()
    with pytest.raises(TypeError):  # what JSON cannot say stops the writing
        save_tensors(path, encoder.state_dict(), {"arm": object()})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_another_backbone_setting_is_refused_by_name(path):
    match = r"vae.safetensors.*backbone.name = 'test_efficientnet'.*now it is 'test_resnet'.*rerun.*pretrain"
    with pytest.raises(CheckpointError, match=match):
        load_encoder(path, Timm(name="test_resnet"))


def test_another_kind_of_backbone_is_refused(path):
    with pytest.raises(CheckpointError, match=r"backbone.kind = 'timm'.*now it is 'efficientnet_lite0'"):
        load_encoder(path, kinds("models.backbones")["efficientnet_lite0"]())


@pytest.fixture
def own(tmp_path):
    """A file of an arm whose method brings its architecture."""
    architecture = load_member("pretraining.pca", "architecture").Config(components=5, side=8)
    save_encoder(tmp_path / "own.safetensors", architecture.build(), architecture, {"arm": "pca", "settings": {}})
    return tmp_path / "own.safetensors", architecture


def test_the_file_of_an_arm_with_its_own_architecture_is_read_whatever_the_backbone(own):
    path, architecture = own
    assert read_architecture(path, BACKBONE) == architecture
    loaded = load_encoder(path, BACKBONE)
    assert loaded.feature_dim == 5
    assert torch.equal(loaded.trunk.components, read_tensors(path)["trunk.components"])


def test_the_settings_backbone_is_the_architecture_of_other_files(path):
    assert read_architecture(path, BACKBONE) is BACKBONE


def test_an_architecture_of_other_code_is_refused(own):
    path, _ = own
    header = {**read_header(path), "backbone": {"kind": "pca", "components": 5, "sides": 8}}
    save_tensors(path, read_tensors(path), header)
    with pytest.raises(
        CheckpointError, match=r"own.safetensors.*'sides': 8.*unknown to components/pretraining/pca/arch"
    ):
        load_encoder(path, BACKBONE)


def test_another_version_is_refused(path):
    save_tensors(path, read_tensors(path), {**read_header(path), "version": 0})
    with pytest.raises(CheckpointError, match=r"version = 0, but now it is 1"):
        load_encoder(path, BACKBONE)


def test_a_classifier_is_no_encoder(path):
    save_tensors(path, read_tensors(path), {**read_header(path), "kind": "classifier"})
    with pytest.raises(CheckpointError, match=r"kind = 'classifier', but now it is 'encoder'"):
        load_encoder(path, BACKBONE)


def test_a_missing_file_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(CheckpointError, match=r"vae.safetensors: is not there.*dvc repro"):
        load_encoder(tmp_path / "vae.safetensors", BACKBONE)


def test_a_cut_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_encoder(path, BACKBONE)


def test_a_file_of_others_is_refused(tmp_path):
    save_file({"weight": torch.zeros(1)}, tmp_path / "theirs.safetensors")
    with pytest.raises(CheckpointError, match="not written by Dermflow"):
        read_header(tmp_path / "theirs.safetensors")


def test_a_header_that_is_no_json_is_refused(tmp_path):
    path = tmp_path / "broken.safetensors"
    save_file({"weight": torch.zeros(1)}, path, {KEY: "{broken"})
    with pytest.raises(CheckpointError, match=r"its 'dermflow' header is not JSON \(Expecting property name"):
        read_header(path)


def test_only_trained_values_are_counted(tmp_path):
    """A batch norm of 5 channels has 10 trained values, 10 statistics and a counter."""
    net = nn.Sequential(nn.Conv2d(3, 5, 3, bias=False), nn.BatchNorm2d(5))
    save_tensors(tmp_path / "net.safetensors", net.state_dict(), {})
    assert count_parameters(tmp_path / "net.safetensors") == 3 * 5 * 9 + 10
    assert count_parameters(tmp_path / "net.safetensors") == sum(weight.numel() for weight in net.parameters())


def test_headers_are_read_without_torch(path, repo):
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from components.models.weights_file import count_parameters, read_header\n"
        f"file = Path({str(path)!r}); assert read_header(file)['arm'] == 'vae'; assert count_parameters(file) > 0\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repo, check=True)
