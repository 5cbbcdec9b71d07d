"""Whether two images show the same scene: one is aligned with the other, and their fine detail must correlate.

A hash alone is not sufficient, since two vignettes, two blank images or two round lesions have the same coarse shape.
The thresholds were chosen on the 10,015 images of HAM10000 and copies made of them, and are measured in
tests/unit/validation/test_duplicates.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from components.validation.perceptual_hash import Pixels

Plane = np.ndarray[Any, np.dtype[np.float32]]

DETAIL = 0.77  # of `detail`: 0.8 and more in 99 % of the copies of each kind, at most 0.74 in other images
CORRELATION = 0.9  # 0.95 and more in 99 % of the copies
LINEAR_FIT = 0.65  # a first, cheap test with one linear step: it rejects nine in ten candidates that are no copies

SIDE = 64  # pixels of the squares that are aligned
STEPS = 5  # of Gauss-Newton; a start is at most 2.5 % of the side away
MIN_DETAIL = 0.3  # grey levels, mean; weaker detail is noise and confirms nothing
FULL_DETAIL = 1.0  # grey levels; detail counts in full where it is stronger
MAX_SHIFT = 0.2  # of the side; a frame that has to move further is no copy
RIM_LUMA = 0.5  # of the median; darker areas at the border come from the instrument, not from the skin
MIN_AREA = 0.3  # of the square; a smaller common area of skin confirms nothing


@dataclass(frozen=True)
class PixelAgreement:
    """How similar two images are after alignment."""

    correlation: float  # of their luma, in [-1, 1]
    detail: float  # of structure finer than a tenth of the side, contrast equalised locally, in [-1, 1]


NO_AGREEMENT = PixelAgreement(-1.0, -1.0)


def shrink(luma: Pixels) -> Pixels:
    """Luma (H, W) to (SIDE, SIDE); the aspect ratio is not kept, as in the hash."""
    return np.asarray(cv2.resize(luma, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def agree(moving: Pixels, fixed: Pixels, window: tuple[float, float, float, float]) -> PixelAgreement:
    """Align the part of `moving` inside `window` with `fixed`, and correlate the two.

    Args:
        moving: (SIDE, SIDE) luma in [0, 255].
        fixed: the same of the other image, already turned.
        window: shares of the side that are cut off at top, bottom, left and right of `moving`.
    """
    whole, target = moving.astype(np.float32), np.ascontiguousarray(fixed, np.float32)
    frame = _frame(window)
    if _linear_fit(whole, target, frame) < LINEAR_FIT:
        return NO_AGREEMENT
    aligned = _register(whole, target, frame)
    overlap = _inside(aligned)
    if np.abs(aligned - frame).max() > MAX_SHIFT:
        return NO_AGREEMENT
    part = _sample(whole, aligned)
    skin = overlap & ~_dark_rim(part) & ~_dark_rim(target)
    if skin.mean() < MIN_AREA:
        return NO_AGREEMENT
    return PixelAgreement(_correlation(part[overlap], target[overlap]), _detail_agreement(part, target, skin))


def _linear_fit(whole: Plane, target: Plane, frame: Plane) -> float:
    """The multiple correlation, in [0, 1], that one linear step from `frame` could reach, on images of half the side.

    The target's detail is regressed on the part's detail and on its derivatives by a small shift or scale of each axis.
    """
    halved = (SIDE // 2, SIDE // 2)
    small, aim = (
        np.asarray(cv2.resize(one, halved, interpolation=cv2.INTER_AREA), np.float32) for one in (whole, target)
    )
    part, goal = (_band(image, 1.0, 2.0) for image in (_sample(small, frame), aim))
    weight = 1 / (_strength(goal, 3.0) + FULL_DETAIL)
    slope_x, slope_y = cv2.Sobel(part, cv2.CV_32F, 1, 0), cv2.Sobel(part, cv2.CV_32F, 0, 1)
    columns = [part, slope_x, slope_y, slope_x * _X[::2, ::2], slope_y * _Y[::2, ::2]]
    design = (np.stack(columns) * weight).reshape(5, -1)
    design, wanted = design - design.mean(axis=1, keepdims=True), (goal * weight).ravel()
    wanted = wanted - wanted.mean()
    normal, along = design @ design.T, design @ wanted
    # regularised, so that an image without detail has no fit
    normal[np.diag_indices(5)] = normal.diagonal() * 1.0001 + 1e-6
    return float(np.sqrt(max(along @ np.linalg.solve(normal, along), 0.0) / (wanted @ wanted + 1e-6)))


def _dark_rim(image: Plane) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """(H, W) bool, True on and near dark areas at the border: images of one instrument share its vignette."""
    dark = (image < RIM_LUMA * np.median(image)).astype(np.uint8)
    parts = cv2.connectedComponents(dark)[1]
    outer = np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))
    rim = np.isin(parts, outer[outer > 0])
    return np.asarray(cv2.dilate(rim.astype(np.uint8), np.ones((7, 7), np.uint8)), bool)


def _frame(window: tuple[float, float, float, float]) -> Plane:
    """(scale x, shift x, scale y, shift y), shifts as shares of the side: maps a point of the part into the whole."""
    top, bottom, left, right = window
    return np.array([1 - left - right, left, 1 - top - bottom, top], np.float32)


_CENTRES = ((np.arange(SIDE) + 0.5) / SIDE).astype(np.float32)
_X, _Y = np.meshgrid(_CENTRES, _CENTRES)


def _sample(whole: Plane, frame: Plane) -> Plane:
    """The part of `whole` inside a frame, resampled to the same size; outside the image its border is repeated."""
    scale_x, shift_x, scale_y, shift_y = (float(value) for value in frame)
    side = len(whole)
    # a pixel's centre is half a pixel from its corner
    move_x = side * shift_x + (scale_x - 1) / 2
    move_y = side * shift_y + (scale_y - 1) / 2
    affine = np.array([[scale_x, 0, move_x], [0, scale_y, move_y]], np.float64)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(whole, affine, (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE))


def _inside(frame: Plane) -> np.ndarray[Any, np.dtype[np.bool_]]:
    x, y = frame[0] * _X + frame[1], frame[2] * _Y + frame[3]
    return np.asarray((x > 0) & (x < 1) & (y > 0) & (y < 1))


def _register(whole: Plane, target: Plane, frame: Plane) -> Plane:
    """The frame after Gauss-Newton steps that fit the part, gain and offset to the target (Lucas & Kanade 1981)."""
    smooth = [np.asarray(cv2.GaussianBlur(image, (0, 0), 1.5), np.float32) for image in (whole, target)]
    for _ in range(STEPS):
        part = _sample(smooth[0], frame)
        slope_x, slope_y = (
            np.asarray(cv2.Scharr(part, cv2.CV_32F, *axis), np.float32) / 32 * SIDE for axis in ((1, 0), (0, 1))
        )
        overlap = _inside(frame)
        slopes = np.stack([slope_x * _X, slope_x, slope_y * _Y, slope_y, part, np.ones_like(part)])
        design = (slopes * overlap).reshape(6, -1)
        normal = design @ design.T
        normal[np.diag_indices(6)] *= 1 + 1e-4  # an image without gradients is not moved
        normal[np.diag_indices(6)] += 1e-3
        solved = np.linalg.solve(normal, design @ (smooth[1] * overlap).ravel())
        gain = max(float(solved[4]), 0.1)
        # gradients are per pixel of the part: a step in the whole image is smaller by the part's scale
        frame = np.asarray(frame + solved[:4] / gain * frame[[0, 0, 2, 2]], np.float32)
        if np.abs(frame).max() > 2:
            break
    return frame


def _detail_agreement(a: Plane, b: Plane, skin: Any) -> float:
    """The correlation of both images' detail; -1 where one of them has hardly any."""
    bands = [_band(image, 0.8, 2.0) for image in (a, b)]
    if min(float(np.abs(band[skin]).mean()) for band in bands) < MIN_DETAIL:
        return -1.0
    first, second = (band / (_strength(band, 4.0) + FULL_DETAIL) for band in bands)
    return _correlation(first[skin], second[skin])


def _band(image: Plane, fine: float, coarse: float) -> Plane:
    """Detail coarser than compression noise and finer than a lesion's outline; standard deviations in pixels."""
    blurred = [np.asarray(cv2.GaussianBlur(image, (0, 0), width)) for width in (fine, coarse)]
    return np.asarray(blurred[0] - blurred[1])


def _strength(band: Plane, width: float) -> Plane:
    """Local root mean square: dividing by it keeps a strong edge from outweighing the skin."""
    return np.sqrt(np.maximum(np.asarray(cv2.GaussianBlur(band * band, (0, 0), width)), 0))


def _correlation(a: Plane, b: Plane) -> float:
    """Pearson's correlation; 0 where one of the two is constant."""
    first, second = a.ravel() - a.mean(), b.ravel() - b.mean()
    scale = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / scale if scale > 1e-6 else 0.0
