"""The one artifact in which every arm ends: an encoder, and the file that carries it.

B batch, D features, h w the map's side (the image's divided by the trunk's stride).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from pydantic_core import to_jsonable_python
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from components.base.errors import CheckpointError
from components.base.files import whole

if TYPE_CHECKING:
    from components.models.backbone import Backbone

VERSION = 1
"""Of the file's layout; raised when an older file can no longer be read."""

KEY = "dermflow"
"""The one metadata key: safetensors keeps no order among several, and equal files must have equal bytes."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Encoder(nn.Module):
    """A trunk that takes images in [0, 1] and gives D features.

    It normalises with ImageNet's mean and deviation, for every arm alike, so that no arm meets other pixels.

    >>> encoder = Encoder(nn.Conv2d(3, 8, 3, stride=2), feature_dim=8)
    >>> encoder(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 8])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: nn.Module, feature_dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.feature_dim = feature_dim
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def map(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) images in [0, 1] to the last map (B, D, h, w)."""
        features: Tensor = self.trunk((images - self.mean) / self.std)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) images in [0, 1] to globally averaged features (B, D)."""
        return self.map(images).mean(dim=(2, 3))  # (B, D)


def to_tensor(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
    """(B, S, S, 3) uint8 to (B, 3, S, S) uint8 without copying; in memory it is channels_last already."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


@torch.no_grad()
def embed(encoder: Encoder, batches: Iterable[Tensor]) -> Tensor:
    """Pooled features (N, D) of uint8 batches (B, 3, S, S), in evaluation mode, on the encoder's device."""
    learns, device = encoder.training, encoder.mean.device
    encoder.eval()
    features = [encoder(batch.to(device).float() / 255).float().cpu() for batch in batches]
    encoder.train(learns)
    return torch.cat(features)


def effective_rank(features: Tensor) -> float:
    """How many directions features (N, D) really fill, in [1, min(N, D)]; near 1 they have collapsed.

    exp of the entropy of the normalised singular values of the centred features (Roy & Vetterli 2007).
    """
    centred = features.double() - features.double().mean(dim=0)
    gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    shares = values / values.sum().clamp(min=torch.finfo(torch.float64).tiny)
    return float(torch.special.entr(shares).sum().exp())


def save_encoder(path: Path, encoder: Encoder, backbone: Backbone, provenance: Mapping[str, object]) -> None:
    """The encoder with its backbone's settings and `provenance` (arm, settings), whole or not at all."""
    header = {"kind": "encoder", "version": VERSION, "backbone": to_jsonable_python(backbone), **provenance}
    save_tensors(path, encoder.state_dict(), header)


def load_encoder(path: Path, backbone: Backbone) -> Encoder:
    """The encoder of a file that was made with the same backbone settings; CheckpointError otherwise."""
    check_header(path, kind="encoder", backbone=backbone, mend="rerun the stage pretrain")
    encoder = backbone.build()
    encoder.load_state_dict(read_tensors(path))
    return encoder


def weights_sha256(module: nn.Module) -> str:
    """Hash of all tensors of the state dict in order, names and shapes included."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def save_tensors(path: Path, state: Mapping[str, Tensor], header: Mapping[str, object]) -> None:
    """Write tensors and a header as safetensors, under another name first and then moved into place.

    The same tensors and header give the same bytes, whatever the memory layout or device was.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with whole(path) as unfinished:
        save_file(plain, unfinished, metadata={KEY: json.dumps(header, sort_keys=True)})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file that `save_tensors` wrote, on the CPU."""
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # safe_open is no mapping


def read_header(path: Path) -> dict[str, Any]:
    """What `save_tensors` was told about the tensors."""
    with _opened(path) as file:
        words = (file.metadata() or {}).get(KEY)
    if words is None:
        raise CheckpointError(f"{path}: has no {KEY!r} header, so it was not written by Dermflow; rerun its stage")
    header: dict[str, Any] = json.loads(words)
    return header


def check_header(path: Path, *, kind: str, backbone: Backbone, mend: str) -> dict[str, Any]:
    """The header of a file of this kind, version and backbone; else an error that ends with `mend`."""
    header = read_header(path)
    _expect(path, "kind", header.get("kind"), kind, mend)
    _expect(path, "version", header.get("version"), VERSION, mend)
    found, present = header.get("backbone", {}), to_jsonable_python(backbone)
    for key in sorted({*found, *present}):
        _expect(path, f"backbone.{key}", found.get(key), present.get(key), mend)
    return header


def _expect(path: Path, name: str, found: object, present: object, mend: str) -> None:
    if found != present:
        raise CheckpointError(f"{path}: was made with {name} = {found!r}, but now it is {present!r}; {mend}")


def _opened(path: Path) -> Any:
    try:
        return safe_open(path, framework="pt")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: is not there; run the stage that makes it (dvc repro)") from None
    except SafetensorError as error:
        raise CheckpointError(f"{path}: is not a whole safetensors file ({error}); rerun its stage") from error
