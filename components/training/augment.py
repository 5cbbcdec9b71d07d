"""Augmentation: the settings `Augment` as a pipeline of albumentations.

The change of an image is a pure function of the seed, the epoch and the image's position in the epoch's order. It does
not depend on the arm, the batch size, the worker or earlier images.

B batch, S the image's side in pixels.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from components.models.encoder import Images
from components.training.settings import Augment

if TYPE_CHECKING:
    from albumentations import BasicTransform

STREAM = 2
"""Keeps these draws apart from other random numbers of the same seed and epoch."""


class Augmentation:
    """The transforms of a policy with a seed."""

    def __init__(self, transforms: list[BasicTransform], policy: Augment, seed: int) -> None:
        self.transforms = transforms
        self.policy = policy
        self.seed = seed

    def __call__(self, images: Images, epoch: int, first: int) -> Images:
        """Augmented copies (B, S, S, 3) uint8; `first` is the position of images[0] in the epoch's order."""
        results = np.empty_like(images)  # (B, S, S, 3)
        for place, image in enumerate(images):
            results[place] = self._augment_one(image, epoch, first + place)
        return results

    def _augment_one(self, image: Images, epoch: int, position: int) -> Images:
        """One image (S, S, 3) through all transforms, which share one stream of random numbers.

        By default each transform of albumentations has its own generators. With a common seed they would all make the
        same draws: a brighter image would always be a larger one.
        """
        if not self.transforms:
            return image
        rng = np.random.default_rng((self.seed, epoch, position, STREAM))
        choices = random.Random(int(rng.integers(2**63)))
        for transform in self.transforms:
            transform.set_random_state(rng, choices)
            image = transform(image=image)["image"]
        return image

    def serialized(self) -> dict[str, Any]:
        """The transforms in order as plain values, which `albumentations.from_dict` reads."""
        import albumentations

        described: dict[str, Any] = albumentations.to_dict(albumentations.Compose(_transforms(self.policy)))
        return described

    def sha256(self) -> str:
        """Hash of the policy and of fixed images that it augments: equal for all arms with the same augmentation."""
        probe = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
        digest = hashlib.sha256(self.policy.model_dump_json().encode())
        for epoch in range(2):
            digest.update(self(probe, epoch, 0).tobytes())
        return digest.hexdigest()


def build_augmentation(policy: Augment, seed: int) -> Augmentation:
    """The augmentation of a policy; `seed` decides all its draws."""
    return Augmentation(_transforms(policy), policy, seed)


def _transforms(policy: Augment) -> list[BasicTransform]:
    """Geometry, then color, all on uint8; settings of zero add no transform. The encoder normalizes afterwards."""
    os.environ.setdefault(
        "NO_ALBUMENTATIONS_UPDATE", "1"
    )  # otherwise its import looks for a newer release on the network
    import cv2

    cv2.setNumThreads(1)  # images are small: a second thread took 25 % more CPU at 224 px and twice as much at 64
    return [*_geometry(policy), *_color(policy)]


def _geometry(policy: Augment) -> list[BasicTransform]:
    import albumentations
    import cv2

    transforms: list[BasicTransform] = [_symmetries()] if policy.flips_and_turns else []
    if policy.scale or policy.shift:
        move = albumentations.Affine(
            scale=(1 - policy.scale, 1 + policy.scale),
            translate_percent=(-policy.shift, policy.shift),
            keep_ratio=True,
            border_mode=cv2.BORDER_REFLECT_101,  # from black corners a network could read the zoom
            p=1.0,
        )
        _replace(move, partial(_in_four_channels, move.apply))
        transforms.append(move)
    return transforms


def _in_four_channels(change: Callable[..., Any], img: Images, **named: Any) -> Images:
    """`change` of an image (S, S, 3), computed as (S, S, 4): OpenCV 5 warps four channels in half the time.

    The resulting bits are the same.
    """
    import cv2

    wide = change(cv2.cvtColor(img, cv2.COLOR_RGB2RGBA), **named)
    return np.asarray(cv2.cvtColor(wide, cv2.COLOR_RGBA2RGB), dtype=np.uint8)


def _symmetries() -> BasicTransform:
    """The D4 of albumentations, computed by OpenCV: numpy needs ten times as long to copy a rotated view."""
    import albumentations

    transform: Any = albumentations.D4(p=1.0)
    _replace(transform, _apply_symmetry)
    return transform


def _replace(transform: Any, apply: Callable[..., Images]) -> None:
    """Another function for the same pixels, in this object only: its class, so its serialized name, stays."""
    transform._key2func["image"] = apply


def _apply_symmetry(img: Images, group_element: str, **_: Any) -> Images:
    """One of the eight symmetries, by its name in albumentations."""
    import cv2

    symmetries: dict[str, Callable[[], Any]] = {
        "r90": lambda: cv2.rotate(img, cv2.ROTATE_90_COUNTERCLOCKWISE),
        "r180": lambda: cv2.flip(img, -1),
        "r270": lambda: cv2.rotate(img, cv2.ROTATE_90_CLOCKWISE),
        "v": lambda: cv2.flip(img, 0),
        "h": lambda: cv2.flip(img, 1),
        "t": lambda: cv2.transpose(img),
        "hvt": lambda: cv2.transpose(cv2.flip(img, -1)),
    }
    return np.asarray(symmetries[group_element](), dtype=np.uint8) if group_element in symmetries else img


def _color(policy: Augment) -> list[BasicTransform]:
    import albumentations

    transforms: list[BasicTransform] = []
    if policy.brightness or policy.contrast:
        transforms.append(albumentations.RandomBrightnessContrast(policy.brightness, policy.contrast, p=1.0))
    if policy.hue or policy.saturation:
        hue = policy.hue / 2  # OpenCV counts hue in steps of two degrees
        transforms.append(albumentations.HueSaturationValue((-hue, hue), policy.saturation, 0, p=1.0))
    return transforms
