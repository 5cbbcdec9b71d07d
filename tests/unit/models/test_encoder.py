"""The encoder's file: whole, equal byte for byte, refused under other settings."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch
from torch import nn

from components.base.config import kinds
from components.base.errors import CheckpointError
from components.models.encoder import Encoder, effective_rank, embed, to_tensor, weights_sha256
from components.models.weights_file import KEY, load_encoder, read_header, read_tensors, save_encoder, save_tensors

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


def test_images_are_normalised_inside():
    identity = Encoder(nn.Identity(), feature_dim=3)
    white = torch.ones(1, 3, 4, 4)
    expected = (1 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(identity(white)[0], expected)


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


def test_another_version_is_refused(path):
    save_tensors(path, read_tensors(path), {**read_header(path), "version": 0})
    with pytest.raises(CheckpointError, match=r"version = 0, but now it is 1"):
        load_encoder(path, BACKBONE)


def test_a_classifier_is_no_encoder(path):
    save_tensors(path, read_tensors(path), {**read_header(path), "kind": "classifier"})
    with pytest.raises(CheckpointError, match=r"kind = 'classifier', but now it is 'encoder'"):
        load_encoder(path, BACKBONE)


def test_a_missing_file_names_the_mend(tmp_path):
    with pytest.raises(CheckpointError, match=r"vae.safetensors: is not there.*dvc repro"):
        load_encoder(tmp_path / "vae.safetensors", BACKBONE)


def test_a_cut_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a whole safetensors file"):
        load_encoder(path, BACKBONE)


def test_a_file_of_others_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(1)}, tmp_path / "theirs.safetensors")
    with pytest.raises(CheckpointError, match="not written by Dermflow"):
        read_header(tmp_path / "theirs.safetensors")


def test_the_hash_sees_every_tensor(encoder, path):
    changed = load_encoder(path, BACKBONE)
    assert weights_sha256(changed) == weights_sha256(encoder)
    with torch.no_grad():
        list(changed.parameters())[-1][0] += 1
    assert weights_sha256(changed) != weights_sha256(encoder)


def test_embedding_does_not_depend_on_the_batches(encoder):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    together = embed(encoder, [to_tensor(pixels)])
    apart = embed(encoder, [to_tensor(pixels[:2]), to_tensor(pixels[2:])])
    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(together, encoder(to_tensor(pixels).float() / 255))


def test_effective_rank_counts_equal_directions():
    basis = torch.linalg.qr(torch.randn(20, 20, generator=torch.Generator().manual_seed(0)))[0]
    basis = basis - basis.mean(dim=0)
    three = torch.linalg.qr(basis[:, :3])[0] @ torch.randn(3, 3, generator=torch.Generator().manual_seed(1))
    equal = torch.linalg.svd(three, full_matrices=False)[0] @ torch.eye(3, 8)  # three equal singular values
    assert effective_rank(equal) == pytest.approx(3, abs=1e-4)
    assert effective_rank(equal.T) <= 3
    assert effective_rank(torch.outer(torch.arange(5.0), torch.ones(4))) == pytest.approx(1, abs=1e-4)
