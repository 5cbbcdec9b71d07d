"""The arm of published ImageNet weights: each source fills the encoder, and failures name their remedy."""

from __future__ import annotations

import hashlib

import pytest
import torch

from components.base.errors import WeightsError
from components.base.log import SilentLog
from components.pretraining import imagenet
from tests.unit.models.test_published import whole_state
from tests.unit.pretraining.small_pretraining import BACKBONE, SESSION, Timm, draw_encoder


def test_the_package_is_for_one_backbone_only(train, val):
    with pytest.raises(WeightsError, match=r"'package' has weights of efficientnet_lite0.*'timm'.*hub or file.*source"):
        imagenet.Config().fit(draw_encoder(), backbone=BACKBONE, train=train, val=val, session=SESSION, log=SilentLog())


def write_state(path, state):
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save(state, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_a_whole_net_fills_the_encoder(suffix, tmp_path, train, val):
    path, state, log = tmp_path / f"net{suffix}", whole_state(), SilentLog()
    config = imagenet.Config(source="file", file=path, sha256=write_state(path, state))
    encoder = draw_encoder()
    config.fit(encoder, backbone=BACKBONE, train=train, val=val, session=SESSION, log=log)
    ours, last = encoder.trunk.state_dict(), "conv_head.weight"
    assert torch.equal(ours[last], state[last])
    assert log.words["weights/source"] == f"file net{suffix}, sha256 {config.sha256}"
    assert config.model_dump(mode="json")["file"] == f"net{suffix}"


def test_a_file_with_another_hash_is_refused(tmp_path, train, val):
    path = tmp_path / "net.pth"
    found = write_state(path, whole_state())
    config = imagenet.Config(source="file", file=path, sha256="0" * 64)
    with pytest.raises(
        WeightsError,
        match=rf"net.pth: sha256 is {found}, expected 0000.*sha256 of the arm under pretrain.arms \(params.yaml\)",
    ):
        config.fit(draw_encoder(), backbone=BACKBONE, train=train, val=val, session=SESSION, log=SilentLog())


def test_a_missing_file_is_named(tmp_path, train, val):
    config = imagenet.Config(source="file", file=tmp_path / "net.pth", sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"net.pth: is not there"):
        config.fit(draw_encoder(), backbone=BACKBONE, train=train, val=val, session=SESSION, log=SilentLog())


class Hub(Timm):
    """A backbone whose hub needs no internet."""

    kind: str = "timm"
    online: bool = True

    def download(self):
        if not self.online:
            raise ConnectionError("no route to the hub")
        return draw_encoder(seed=9).trunk


def test_the_hubs_weights_fill_the_encoder(train, val):
    encoder = draw_encoder()
    imagenet.Config(source="hub").fit(encoder, backbone=Hub(), train=train, val=val, session=SESSION, log=SilentLog())
    assert torch.equal(encoder.trunk.conv_head.weight, draw_encoder(seed=9).trunk.conv_head.weight)


def test_without_internet_the_error_names_file_and_settings(train, val):
    with pytest.raises(WeightsError, match=r"no route to the hub.*\.safetensors and set source: file.*params.yaml"):
        imagenet.Config(source="hub").fit(
            draw_encoder(), backbone=Hub(online=False), train=train, val=val, session=SESSION, log=SilentLog()
        )
