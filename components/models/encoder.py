"""The encoder: what every arm produces, and what is computed from its features.

B batch, N images, D features, S the image's side in pixels, h w the sides of the last feature map.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Ints = np.ndarray[Any, np.dtype[np.int64]]
Images = np.ndarray[Any, np.dtype[np.uint8]]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

INFERENCE_BATCH = 256
"""Images in a batch where nothing is trained."""


class Encoder(nn.Module):
    """A backbone without its classifier: images in [0, 1] to D features.

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
        self.feature_dim = feature_dim
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)

    def map(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) images in [0, 1] to the last feature map (B, D, h, w)."""
        features: Tensor = self.trunk((images - self.mean) / self.std)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, S, S) images in [0, 1] to globally averaged features (B, D)."""
        return self.map(images).mean(dim=(2, 3))  # (B, D)


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
