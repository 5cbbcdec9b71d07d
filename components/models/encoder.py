"""The encoder: what every arm produces, and what is computed from its features.

B batch, N images, D features, S the image's side in pixels, h w the sides of the last feature map.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from components.base.errors import SettingsError
from components.models.layer_groups import stage_ends
from components.models.readout import Readout

Ints = np.ndarray[Any, np.dtype[np.int64]]
Images = np.ndarray[Any, np.dtype[np.uint8]]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

PROBE_SIDE = 64
"""Pixels, the side of the image with which a network's channels are found."""

INFERENCE_BATCH = 256
"""Images in a batch where nothing is trained."""


class Encoder(nn.Module):
    """A backbone without its classifier: images in [0, 1] to D features, pooled maps of one or several stages.

    It normalises with ImageNet's mean and standard deviation, the same for every arm, so that all arms get the same
    pixels. The attribute is called `trunk` since files of weights hold that name.

    >>> encoder = Encoder(nn.Conv2d(3, 8, 3, stride=2), feature_dim=8)
    >>> encoder(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 8])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, trunk: nn.Module, feature_dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.last_dim = feature_dim
        """Channels of the last map."""
        self.readout: Readout = "last_map"
        self._sizes: tuple[int, ...] = (feature_dim,)
        self._ends: list[str] | None = None  # modules whose outputs are kept during a forward pass
        self._kept: list[Tensor] | None = None  # their outputs, in `maps` only
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    @property
    def feature_sizes(self) -> tuple[int, ...]:
        """Features of each map that is read."""
        return self._sizes

    @property
    def feature_dim(self) -> int:
        """D, the number of features."""
        return sum(self._sizes)

    def read(self, readout: Readout) -> Self:
        """Choose the maps that are pooled to features; weights and names in the state dict do not change.

        A network without stages of its own, such as a projection, has one map, which every readout reads.

        Raises:
            SettingsError: for a stage that the network does not have.
        """
        if readout == "last_map":
            self.readout, self._sizes = readout, (self.last_dim,)
            return self
        channels = self._stage_channels()
        if isinstance(readout, int) and len(channels) > 1:
            if not 1 <= readout <= len(channels):
                raise SettingsError(
                    f"finetune.features = {readout}: expected a stage from 1 to {len(channels)} of this backbone "
                    f"({len(channels)} is its last map), last_map or all_stages (params.yaml)"
                )
            channels = channels[readout - 1 : readout]
        self.readout, self._sizes = readout, tuple(channels)
        return self

    def map(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) images in [0, 1] to the last feature map (B, D, h, w)."""
        features: Tensor = self.trunk((images - self.mean) / self.std)
        return features

    def maps(self, images: Tensor) -> list[Tensor]:
        """(B, 3, S, S) images in [0, 1] to the map at the end of each stage (B, C, h, w), the network's output last."""
        self._keep_stages()
        kept: list[Tensor] = []
        self._kept = kept
        try:
            last = self.map(images)
            return [*kept, last]
        finally:
            self._kept = None

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) images in [0, 1] to the globally averaged features of the maps that are read (B, D)."""
        if self.readout == "last_map":
            return pool(self.map(images))
        maps = self.maps(images)
        if isinstance(self.readout, int) and len(maps) > 1:
            return pool(maps[self.readout - 1])
        return torch.cat([pool(each) for each in maps], dim=1)  # (B, D)

    def _keep_stages(self) -> None:
        """Let the modules at the ends of stages keep their outputs, once; copies of the encoder keep their own."""
        if self._ends is None:
            self._ends = stage_ends(self.trunk)
            for name in self._ends:
                self.trunk.get_submodule(name).register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: object, output: Tensor) -> None:
        if self._kept is not None:
            self._kept.append(output)

    @torch.no_grad()
    def _stage_channels(self) -> list[int]:
        """Channels of each map, found with one blank image; the state does not change."""
        was_training = self.training
        self.eval()
        channels = [each.shape[1] for each in self.maps(self.mean.new_zeros(1, 3, PROBE_SIDE, PROBE_SIDE))]
        self.train(was_training)
        return channels


def pool(features: Tensor) -> Tensor:
    """Global average of a map, (B, C, h, w) to (B, C)."""
    return features.mean(dim=(2, 3))


def to_tensor(pixels: Images) -> Tensor:
    """(B, S, S, 3) uint8 to (B, 3, S, S) uint8 without a copy; the memory layout is then channels_last."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def read_batches(take: Callable[[Ints], Images], rows: Ints) -> Iterator[Tensor]:
    """The images at `rows` in that order, as uint8 batches (B, 3, S, S) of at most INFERENCE_BATCH.

    Args:
        take: row numbers (B,) to images (B, S, S, 3) uint8, such as `Pixels.take`.
        rows: row numbers (N,).
    """
    chunks = (rows[start : start + INFERENCE_BATCH] for start in range(0, len(rows), INFERENCE_BATCH))
    return (to_tensor(take(chunk)) for chunk in chunks)


@torch.no_grad()
def embed(encoder: Encoder, batches: Iterable[Tensor]) -> Tensor:
    """Pooled features (N, D) on the CPU of uint8 batches (B, 3, S, S), computed in evaluation mode.

    The encoder's mode is restored.
    """
    was_training, device = encoder.training, encoder.mean.device
    encoder.eval()
    features = [encoder(batch.to(device).float() / 255).float().cpu() for batch in batches]
    encoder.train(was_training)
    return torch.cat(features)


def effective_rank(features: Tensor) -> float:
    """Number of directions that features (N, D) fill, in [1, min(N, D)]; a value near 1 is a collapse.

    The exponential of the entropy of the normalised singular values of the centred features (Roy & Vetterli 2007).
    """
    centred = features.double() - features.double().mean(dim=0)
    gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    shares = values / values.sum().clamp(min=torch.finfo(torch.float64).tiny)
    return float(torch.special.entr(shares).sum().exp())


def weights_sha256(module: nn.Module) -> str:
    """Hash over all tensors of the state dict in order: name, type, shape and values."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
