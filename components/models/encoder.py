"""The one artifact in which every arm ends: an encoder, and the file that carries it.

B batch, D features, h w the map's side (the image's divided by the trunk's stride).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    pass


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


def weights_sha256(module: nn.Module) -> str:
    """Hash of all tensors of the state dict in order, names and shapes included."""
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
