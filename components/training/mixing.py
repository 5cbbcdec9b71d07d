"""Mixup and cutmix: each image of a batch is mixed with the one before it, and its target by the same share.

The draws are a pure function of seed, epoch and step. That is why torchvision's transforms of these names are not
used here, only as the reference of the tests: they draw from torch's global generator, which dropout uses too.

B batch, S the image's side in pixels, K classes.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from components.models.encoder import Images, Ints

Floats = np.ndarray[Any, np.dtype[np.float32]]

STREAM = 3
"""Keeps these draws apart from other random numbers of the same seed and epoch."""


class Mixing:
    """Mixup (Zhang et al. 2018), cutmix (Yun et al. 2019), or at each step one of the two with probability 1/2.

    `mixup` and `cutmix` are the alpha of Beta(alpha, alpha), from which an image's share in its own mixture is drawn
    once per batch; 0: this kind of mixing is not used.
    """

    def __init__(self, mixup: float, cutmix: float, *, classes: int, seed: int) -> None:
        self.mixup, self.cutmix = mixup, cutmix
        self.classes = classes
        self.seed = seed

    def __call__(self, images: Images, labels: Ints, epoch: int, step: int) -> tuple[Images, Floats]:
        """New images (B, S, S, 3) uint8 and their targets (B, K), shares that sum to 1."""
        rng = np.random.default_rng((self.seed, epoch, step, STREAM))
        cuts = self.cutmix > 0 and (self.mixup == 0 or rng.random() < 0.5)
        share = float(rng.beta(*2 * (self.cutmix if cuts else self.mixup,)))
        if cuts:
            images, share = cut(images, share, rng)
        else:
            images = blend(images, share)
        targets = np.eye(self.classes, dtype=np.float32)[labels]
        return images, (share * targets + (1 - share) * np.roll(targets, 1, axis=0)).astype(np.float32)

    def sha256(self) -> str:
        """Hash of the settings and of a fixed batch that they mix: equal for all arms with the same mixing."""
        probe = np.random.default_rng(0).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
        digest = hashlib.sha256(f"{self.mixup} {self.cutmix} {self.classes}".encode())
        for epoch, step in np.ndindex(2, 4):
            images, targets = self(probe, np.arange(4) % self.classes, epoch, step)
            digest.update(images.tobytes() + targets.tobytes())
        return digest.hexdigest()


def blend(images: Images, share: float) -> Images:
    """`share` of each image plus 1 - `share` of the image before it, rounded."""
    import cv2

    flat, before = images.reshape(len(images), -1), np.roll(images, 1, axis=0).reshape(len(images), -1)
    blended: Any = cv2.addWeighted(flat, share, before, 1 - share, 0.0)
    return np.asarray(blended, dtype=np.uint8).reshape(images.shape)


def cut(images: Images, share: float, rng: np.random.Generator) -> tuple[Images, float]:
    """Paste a window of the image before it into each image; also returns the share of its own pixels that is left.

    The window covers 1 - `share` of the area, less where it crosses the image's edge.
    """
    height, width = images.shape[1:3]
    half = 0.5 * np.sqrt(1 - share)
    top, bottom = _window(rng.integers(height), int(half * height), height)
    left, right = _window(rng.integers(width), int(half * width), width)
    pasted = images.copy()
    pasted[:, top:bottom, left:right] = np.roll(images, 1, axis=0)[:, top:bottom, left:right]
    return pasted, 1 - (bottom - top) * (right - left) / (height * width)


def _window(centre: int, half: int, side: int) -> tuple[int, int]:
    return max(0, int(centre) - half), min(side, int(centre) + half)
