"""The augmentation policy, written once: plain settings in, an albumentations pipeline out.

What happens to an image is a function of the seed, the epoch and the image's position in the epoch's order,
and of nothing else: not of the arm, the batch's size, the worker or what came before.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import Field

from components.base.config import Frozen

if TYPE_CHECKING:
    from albumentations import BasicTransform

Images = np.ndarray[Any, np.dtype[np.uint8]]
Share = Annotated[float, Field(ge=0, lt=1)]

STREAM = 2  # apart from other random numbers of the same seed and epoch


class Augment(Frozen):
    """What may happen to a train image; drawn alike for every arm."""

    flips_and_turns: bool = Field(description="the eight symmetries of the square")
    scale: Share = Field(description="zoom, +- share of the side")
    shift: Share = Field(description="+- share of the side")
    brightness: Share = Field(description="+- share")
    contrast: Share = Field(description="+- share")
    hue: int = Field(ge=0, le=90, description="degrees, +-")
    saturation: int = Field(ge=0, le=255, description="of 255, +-")

    def words(self) -> str:
        """In one line; what is set to zero is left out.

        >>> Augment(flips_and_turns=True, scale=0.15, shift=0, brightness=0, contrast=0, hue=4, saturation=0).words()
        'flips and turns, zoom ±15 %, hue ±4°'
        """
        amounts = [
            ("zoom", self.scale, f"{100 * self.scale:g} %"),
            ("shift", self.shift, f"{100 * self.shift:g} %"),
            ("brightness", self.brightness, f"{100 * self.brightness:g} %"),
            ("contrast", self.contrast, f"{100 * self.contrast:g} %"),
            ("hue", self.hue, f"{self.hue}°"),
            ("saturation", self.saturation, f"{self.saturation} of 255"),
        ]
        parts = [f"{name} ±{text}" for name, amount, text in amounts if amount]
        return ", ".join(["flips and turns"] * self.flips_and_turns + parts) or "nothing"


class Augmentation:
    """A policy with its seed, ready for batches."""

    def __init__(self, transforms: list[BasicTransform], policy: Augment, seed: int) -> None:
        self.transforms = transforms
        self.policy = policy
        self.seed = seed

    def __call__(self, images: Images, epoch: int, first: int) -> Images:
        """New images (B, S, S, 3) uint8; `first` is the position of images[0] in the epoch's order."""
        results = np.empty_like(images)  # (B, S, S, 3)
        for place, image in enumerate(images):
            results[place] = self._one(image, epoch, first + place)
        return results

    def _one(self, image: Images, epoch: int, position: int) -> Images:
        """One image (S, S, 3), through all transforms with one stream of random numbers.

        Each transform has its own generators in albumentations, and a common seed would give all of them the
        same draws: a brighter image would always be a larger one. So they share one stream.
        """
        if not self.transforms:
            return image
        numbers = np.random.default_rng((self.seed, epoch, position, STREAM))
        choices = random.Random(int(numbers.integers(2**63)))
        for transform in self.transforms:
            transform.set_random_state(numbers, choices)
            image = transform(image=image)["image"]
        return image

    def serialized(self) -> dict[str, Any]:
        """The transforms in order as plain values, from which `albumentations.from_dict` makes them again."""
        import albumentations

        described: dict[str, Any] = albumentations.to_dict(albumentations.Compose(_transforms(self.policy)))
        return described

    def sha256(self) -> str:
        """Hash of the policy and of what it makes of a fixed image: equal for arms that are treated alike."""
        probe = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
        digest = hashlib.sha256(self.policy.model_dump_json().encode())
        for epoch in range(2):
            digest.update(self(probe, epoch, 0).tobytes())
        return digest.hexdigest()


def build(policy: Augment, seed: int) -> Augmentation:
    """The policy's transforms, ready for batches."""
    return Augmentation(_transforms(policy), policy, seed)


def _transforms(policy: Augment) -> list[BasicTransform]:
    """Geometry first, then colour, all on uint8; what is set to zero is left out. The encoder normalises, last."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # importing it would ask the network for a newer release
    import cv2

    cv2.setNumThreads(1)  # images are small: a second thread took 25 % more CPU at 224 px and twice as much at 64
    return [*_geometry(policy), *_colour(policy)]


def _geometry(policy: Augment) -> list[BasicTransform]:
    import albumentations
    import cv2

    transforms: list[BasicTransform] = [_symmetries()] if policy.flips_and_turns else []
    if policy.scale or policy.shift:
        move = albumentations.Affine(
            scale=(1 - policy.scale, 1 + policy.scale),
            translate_percent=(-policy.shift, policy.shift),
            keep_ratio=True,
            border_mode=cv2.BORDER_REFLECT_101,  # black corners would tell nets about the zoom
            p=1.0,
        )
        _replace(move, partial(_in_four, move.apply))
        transforms.append(move)
    return transforms


def _in_four(change: Callable[..., Any], img: Images, **named: Any) -> Images:
    """`change` of an image (S, S, 3) that goes through it as (S, S, 4): OpenCV 5 warps four channels in half the time.

    The bits are the same.
    """
    import cv2

    wide = change(cv2.cvtColor(img, cv2.COLOR_RGB2RGBA), **named)
    return np.asarray(cv2.cvtColor(wide, cv2.COLOR_RGBA2RGB), dtype=np.uint8)


def _symmetries() -> BasicTransform:
    """The D4 of albumentations, its copies made by OpenCV: numpy takes ten times as long over a turned view."""
    import albumentations

    transform: Any = albumentations.D4(p=1.0)
    _replace(transform, _turned)
    return transform


def _replace(transform: Any, apply: Callable[..., Images]) -> None:
    """Another way to the same pixels, for this object alone: its class, and so its name in a dumped policy, stays."""
    transform._key2func["image"] = apply


def _turned(img: Images, group_element: str, **_: Any) -> Images:
    """One of the eight symmetries, by its name in albumentations."""
    import cv2

    turns: dict[str, Callable[[], Any]] = {
        "r90": lambda: cv2.rotate(img, cv2.ROTATE_90_COUNTERCLOCKWISE),
        "r180": lambda: cv2.flip(img, -1),
        "r270": lambda: cv2.rotate(img, cv2.ROTATE_90_CLOCKWISE),
        "v": lambda: cv2.flip(img, 0),
        "h": lambda: cv2.flip(img, 1),
        "t": lambda: cv2.transpose(img),
        "hvt": lambda: cv2.transpose(cv2.flip(img, -1)),
    }
    return np.asarray(turns[group_element](), dtype=np.uint8) if group_element in turns else img


def _colour(policy: Augment) -> list[BasicTransform]:
    import albumentations

    transforms: list[BasicTransform] = []
    if policy.brightness or policy.contrast:
        transforms.append(albumentations.RandomBrightnessContrast(policy.brightness, policy.contrast, p=1.0))
    if policy.hue or policy.saturation:
        turn = policy.hue / 2  # OpenCV counts hue in steps of two degrees
        transforms.append(albumentations.HueSaturationValue((-turn, turn), policy.saturation, 0, p=1.0))
    return transforms
