"""Depth of parameters by stage and block, against numbers by hand and timm's own groups."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from components.base.errors import SettingsError
from components.models.backbones.convnext_tiny import Config as ConvNeXtTiny
from components.models.backbones.efficientnet_lite0 import Config as EfficientNetLite0
from components.models.backbones.timm import Config as Timm
from components.models.layer_groups import depths, freeze, layer_scales, set_drop_path

NETS = {
    "convnext_tiny": (ConvNeXtTiny(), 6, 20),
    "efficientnet_lite0": (EfficientNetLite0(), 8, 17),
    "resnet18": (Timm(name="resnet18"), 5, 9),
    "convnext_atto": (Timm(name="convnext_atto"), 6, 14),
    "test_efficientnet": (Timm(), 6, 6),
}
"""Stages with stem and what follows the last one, and blocks with the same, by the papers' tables."""


def _trunk(name: str) -> nn.Module:
    return NETS[name][0].build().trunk


@pytest.mark.parametrize("name", NETS)
def test_every_parameter_has_a_depth_without_gaps(name):
    trunk, (_, stages, blocks) = _trunk(name), NETS[name]
    for by_stage, count in ((True, stages), (False, blocks)):
        found = depths(trunk, by_stage)
        assert set(found) == {key for key, _ in trunk.named_parameters()}
        assert set(found.values()) == set(range(count))


@pytest.mark.parametrize("name", NETS)
def test_depth_grows_from_the_images_to_the_last_map(name):
    """Parameters are named in the order in which images meet them, but for those that a block holds for itself."""
    trunk = _trunk(name)
    for by_stage in (True, False):
        found = depths(trunk, by_stage)
        order = [found[key] for key, _ in trunk.named_parameters()]
        assert order == sorted(order)


def test_layer_scales_of_convnext_equal_those_by_hand():
    """Stem, 3 + 3 + 9 + 3 blocks, the last norm: 20 layers below the head."""
    found = layer_scales(_trunk("convnext_tiny"), 0.9)
    expected = {
        "features.0.0.weight": 20,  # stem
        "features.1.0.block.0.weight": 19,  # first stage
        "features.1.2.layer_scale": 17,
        "features.2.1.weight": 16,  # into the second stage, with its first block
        "features.3.0.block.0.weight": 16,
        "features.5.8.block.5.bias": 5,  # the third stage's ninth block
        "features.6.0.bias": 4,
        "features.7.2.block.3.weight": 2,
        "classifier.0.weight": 1,
    }
    assert {name: found[name] for name in expected} == {
        name: pytest.approx(0.9**distance) for name, distance in expected.items()
    }


def test_layer_scales_equal_timms_own_groups():
    """timm counts its classifier as the deepest layer; ours stands one above."""
    from timm.optim import param_groups_layer_decay

    trunk = _trunk("efficientnet_lite0")
    names = {id(weight): name for name, weight in trunk.named_parameters()}
    theirs = {
        names[id(w)]: group["lr_scale"]
        for group in param_groups_layer_decay(trunk, layer_decay=0.7)
        for w in group["params"]
    }
    ours = layer_scales(trunk, 0.7)
    assert len(ours) > 50 and ours == {name: pytest.approx(0.7 * scale) for name, scale in theirs.items()}


def test_a_backbone_that_states_no_stages_is_named():
    with pytest.raises(SettingsError, match=r"finetune.layer_decay.*backbone Sequential does not state its stages"):
        depths(nn.Sequential(nn.Conv2d(3, 8, 3)), by_stage=True)


@pytest.mark.parametrize("name", NETS)
def test_frozen_stages_are_stem_and_first_stages(name):
    trunk = _trunk(name)
    still = freeze(trunk, 2)
    found = depths(trunk, by_stage=True)
    for key, weight in trunk.named_parameters():
        assert weight.requires_grad == (found[key] > 2), key
    assert {id(w) for module in still for w in module.parameters()} == {
        id(w) for w in trunk.parameters() if not w.requires_grad
    }


def test_freezing_nothing_changes_nothing():
    trunk = _trunk("test_efficientnet")
    assert freeze(trunk, 0) == [] and all(weight.requires_grad for weight in trunk.parameters())


@pytest.mark.parametrize(("name", "most"), [("convnext_tiny", 4), ("resnet18", 3), ("efficientnet_lite0", 6)])
def test_freezing_all_that_there_is_names_the_most(name, most):
    freeze(_trunk(name), most)
    with pytest.raises(SettingsError, match=rf"finetune.freeze = {most + 1}: expected at most {most} "):
        freeze(_trunk(name), most + 1)


@pytest.mark.parametrize("name", ["convnext_tiny", "efficientnet_lite0", "resnet18", "convnext_atto"])
def test_drop_path_acts_in_training_alone_and_keeps_the_weights_names(name):
    torch.manual_seed(0)
    trunk, images = _trunk(name), torch.rand(4, 3, 64, 64)
    names = list(trunk.state_dict())
    with torch.no_grad():
        for name_, weight in trunk.named_parameters():
            if name_.endswith("bn2.weight"):
                weight.fill_(1.0)  # timm's ResNets begin with branches that add nothing
        plain = trunk.eval()(images)
        set_drop_path(trunk, 0.9)
        assert list(trunk.state_dict()) == names
        assert torch.equal(trunk.eval()(images), plain)
        for module in trunk.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.0
        torch.manual_seed(1)
        first = trunk.train()(images)
        torch.manual_seed(2)
        assert not torch.equal(trunk(images), first)
        set_drop_path(trunk, 0.0)
        assert torch.equal(trunk.train()(images), trunk(images))


def test_drop_path_grows_linearly_as_timm_sets_it():
    import timm

    ours, theirs = (timm.create_model("convnext_atto", num_classes=0, drop_path_rate=rate) for rate in (0.0, 0.3))
    set_drop_path(ours, 0.3)
    rates = [[m.drop_prob for m in net.modules() if hasattr(m, "drop_prob")] for net in (ours, theirs)]
    assert rates[0][0] == 0 and len(rates[0]) == 12
    assert rates[0][1:] == pytest.approx(rates[1][-11:])


def test_drop_path_null_leaves_the_net_as_it_was_built():
    trunk = _trunk("convnext_tiny")
    set_drop_path(trunk, None)
    assert [m.p for m in trunk.modules() if hasattr(m, "p")][-1] == 0.1


def test_a_net_without_residual_branches_cannot_drop_any():
    with pytest.raises(SettingsError, match=r"finetune.drop_path = 0.1: the backbone Sequential has no residual"):
        set_drop_path(nn.Sequential(nn.Conv2d(3, 8, 3)), 0.1)


def test_a_net_without_parameters_has_nothing_to_freeze_to_scale_or_to_drop():
    fixed = nn.Sequential(nn.AvgPool2d(4), nn.Flatten())
    assert depths(fixed, by_stage=True) == {} and layer_scales(fixed, 0.7) == {} and freeze(fixed, 2) == []
    set_drop_path(fixed, 0.1)
