"""Segmentation of the lesion by classical means: the region near the centre that absorbs more light than the skin.

By the law of Beer and Lambert, pigment and blood add optical density to that of the skin. The image becomes a map of
optical density above that of the skin at the border. Otsu's threshold (1979) divides it, and the large component near
the centre is the lesion. Dark corners of a dermatoscope's tube, hairs and rulers are excluded. Where the result is not
reliable, it is None.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

Image = np.ndarray[Any, np.dtype[np.uint8]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Map = np.ndarray[Any, np.dtype[np.float32]]

SIDE = 96
"""Pixels of the shorter side at which the image is analysed: enough for an outline, and hairs disappear."""

DARK = 45
"""Of 255: border pixels below this in all channels, and pixels connected to them, are the dermatoscope's tube."""

RIM = 0.1
"""Width of the image border that gives the colour of the skin, share of the side."""

LEAST_CONTRAST = 0.12
"""Optical density of the lesion above the skin; irregular bare skin is below."""

LEAST_SEPARATION = 0.55
"""Share of the map's variance between lesion and skin (Otsu's eta), below which no region is distinct."""

SHARES = (0.01, 0.85)
"""Allowed share of the image: a smaller region is a dot, a larger one has no outline in the image."""

GROW = 0.02
"""Share of the side by which the outline is widened, since the lesion fades out beyond the threshold."""

ELLIPSE = 0.35
"""Half axes of the central ellipse that replaces a lesion that is not found, shares of the sides."""


def find_lesion(image: Image) -> Mask | None:
    """The mask of the lesion.

    Args:
        image: (H, W, 3) uint8 RGB.

    Returns:
        (H, W) bool, True in the lesion, without holes; None where no reliable outline was found.
    """
    small = _shrink(image)
    usable = ~_tube(small)
    density = _density(small, usable)
    if density is None:
        return None
    candidate, separation = _threshold(density, usable)
    lesion = _choose(candidate)
    if lesion is None or not _is_reliable(lesion, density, usable, separation):
        return None
    grown = _disc_dilated(lesion, round(GROW * min(lesion.shape)))
    height, width = image.shape[:2]
    return np.asarray(cv2.resize(grown, (width, height), interpolation=cv2.INTER_LINEAR), np.float32) > 0.5


def lesion_share(image: Image) -> float:
    """The lesion's share of the image (H, W, 3) uint8 RGB, in (0, 1); NaN where none is found."""
    found = find_lesion(image)
    return float("nan") if found is None else float(found.mean())


def central_ellipse(height: int, width: int) -> Mask:
    """(H, W) bool, the replacement for a lesion that is not found: an ellipse of 38 % of the image in its centre."""
    down, across = np.ogrid[:height, :width]
    far = ((across + 0.5) / width - 0.5) ** 2 + ((down + 0.5) / height - 0.5) ** 2
    return np.asarray(far <= ELLIPSE**2)


def _shrink(image: Image) -> Image:
    """The image reduced to SIDE and smoothed, so that hairs and rulers disappear."""
    height, width = image.shape[:2]
    factor = SIDE / min(height, width)
    size = (round(width * factor), round(height * factor))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
    return np.asarray(cv2.GaussianBlur(cv2.medianBlur(small, 5), (0, 0), 1.5), np.uint8)


def _tube(small: Image) -> Mask:
    """Black pixels connected to the corners, a little widened."""
    black = (small.max(axis=2) < DARK).astype(np.uint8)
    count, names = cv2.connectedComponents(black, connectivity=4)
    corners = [names[row, column] for row in (0, -1) for column in (0, -1)]
    tube = np.isin(names, [name for name in corners if name]) & (count > 1)
    return _disc_dilated(tube.astype(np.float32), 9) > 0.5


def _density(small: Image, usable: Mask) -> Map | None:
    """Distance of the optical density from that of the skin at the border, (h, w), Euclidean over the channels.

    Where a pixel is brighter than skin, only its colour counts: reflections are not lesions, pink regions may be. None
    where no border pixel is usable.
    """
    whole = _rim(usable, RIM)
    rim = whole & usable
    if rim.sum() < 0.2 * whole.sum():
        rim = usable & (_disc_dilated((~usable).astype(np.float32), 8) > 0.5)  # skin next to the tube
    if not rim.any():
        return None
    absorbed = -np.log((small.astype(np.float32) + 1) / 256)  # (h, w, 3)
    above = absorbed - np.median(absorbed[rim], axis=0)
    grey = above.mean(axis=2, keepdims=True)
    return np.asarray(np.linalg.norm(above - np.minimum(grey, 0), axis=2), np.float32)


def _rim(like: Mask, share: float) -> Mask:
    """The outer ring of an image of this shape, `share` of the shorter side wide."""
    wide = max(1, round(share * min(like.shape)))
    rim = np.ones(like.shape, bool)
    rim[wide:-wide, wide:-wide] = False
    return rim


def _threshold(density: Map, usable: Mask) -> tuple[Mask, float]:
    """The region above Otsu's threshold, and the share of the variance that the division explains."""
    values = density[usable]
    top = float(np.quantile(values, 0.995)) or 1.0  # so that a few black dots do not stretch the scale
    coded = np.clip(values / top * 255, 0, 255).astype(np.uint8)
    line, _ = cv2.threshold(coded, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    above = coded > line
    share = above.mean()
    apart = float(coded[above].mean() - coded[~above].mean()) if 0 < share < 1 else 0.0
    spread = float(coded.var())
    return usable & (density > line * top / 255), share * (1 - share) * apart**2 / spread if spread else 0.0


def _choose(candidate: Mask) -> Map | None:
    """The component that is large and near the centre, filled, as 0 and 1; None where there is no component."""
    opened = cv2.morphologyEx(candidate.astype(np.uint8), cv2.MORPH_OPEN, _disc(2))
    closed = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, _disc(4))
    count, names, facts, middles = cv2.connectedComponentsWithStats(closed, connectivity=4)
    if count < 2:
        return None
    height, width = candidate.shape
    far = np.hypot(middles[:, 0] / width - 0.5, middles[:, 1] / height - 0.5)  # in sides
    weight = facts[:, cv2.CC_STAT_AREA] * np.exp(-((far / 0.25) ** 2))
    return _filled(names == 1 + int(weight[1:].argmax()))


def _filled(lesion: Mask) -> Map:
    """The lesion without holes, as 0 and 1."""
    edges, _ = cv2.findContours(lesion.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    canvas = np.zeros(lesion.shape, np.uint8)
    cv2.drawContours(canvas, edges, -1, 1, cv2.FILLED)
    return canvas.astype(np.float32)


def _is_reliable(lesion: Map, density: Map, usable: Mask, separation: float) -> bool:
    """Whether it has a plausible size, skin around it and enough contrast, and is not mostly at the border."""
    inside, outside = (lesion > 0) & usable, (lesion == 0) & usable
    if not inside.any() or not outside.any():
        return False
    contrast = float(np.median(density[inside]) - np.median(density[outside]))
    rim, around = _rim(usable, 0.02), _rim(usable, 0.25)
    return (
        SHARES[0] <= lesion.mean() <= SHARES[1]
        and contrast >= LEAST_CONTRAST
        and separation >= LEAST_SEPARATION
        and float(lesion[rim].mean()) <= 0.6
        and bool(lesion[~around].any())
    )


def _disc(radius: int) -> np.ndarray[Any, Any]:
    """A disc that is symmetric under rotation by 90 degrees, as OpenCV's own ellipse is not."""
    down, across = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(down**2 + across**2 <= (radius + 0.5) ** 2, np.uint8)


def _disc_dilated(mask: Map, radius: int) -> Map:
    return np.asarray(cv2.dilate(mask, _disc(radius)), np.float32)
