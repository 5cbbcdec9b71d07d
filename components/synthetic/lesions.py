"""SYNTHETIC dermoscopy: lesions drawn as layers of pigment on skin, inspired by the seven classes of HAM10000.

A class is a recipe: how much of each structure its lesions show. A lesion is drawn once on a canvas larger than the
picture; `components.synthetic.dataset` takes its views from there. Colour follows the law of Beer and Lambert:
structures add optical density to that of the skin.

A lesion is a pure function of settings and seed and has a random stream of its own, so drawing more lesions changes
none of the others. Legend: C side of the canvas, S shorter side of the picture, pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from components.synthetic.drawing import Map, Picture, Random, random_direction, soft_step, stream

Planes: TypeAlias = NDArray[np.floating[Any]]  # (3, C, C) RGB in [0, 1], or optical density

RECIPES: dict[str, dict[str, float]] = {
    "akiec": dict(elongated=0.3, ragged=0.5, soft=0.9, brown=0.12, red=0.75, scale=0.9, vessels=0.1),
    "bcc": dict(elongated=0.3, lobes=0.3, ragged=0.3, soft=0.4, red=0.35, pearl=0.6, vessels=1.0, nests=0.6),
    "bkl": dict(elongated=0.3, ragged=0.4, brown=0.45, waxy=0.7, blotches=0.3, milia=0.9, pits=0.7),
    "df": dict(elongated=0.1, ragged=0.1, soft=0.8, brown=0.4, red=0.3, network=0.5, scar=1.0),
    "mel": dict(elongated=0.5, lobes=1.0, ragged=0.9, soft=0.2, brown=1.0, blotches=1.0, network=0.35, dots=0.8,
                veil=0.8, red=0.2),
    "nv": dict(elongated=0.1, ragged=0.1, soft=0.4, brown=0.6, network=1.0, dots=0.15),
    "vasc": dict(elongated=0.2, ragged=0.2, soft=0.2, red=0.45, lacunae=1.0),
}  # fmt: skip
"""Class -> feature -> amount, about 0 to 1; an absent feature is 0. Features of the border: elongated, lobes
(asymmetry), ragged, soft; the others are structures of dermoscopy."""

FEATURES = sorted({name for recipe in RECIPES.values() for name in recipe})

PIGMENTS: dict[str, tuple[float, float, float]] = {
    "melanin": (0.55, 1.05, 1.50),
    "keratin": (0.25, 0.50, 1.00),  # yellow-brown, waxy
    "blood": (0.12, 0.85, 0.62),
    "dark blood": (0.75, 1.70, 1.05),  # purple
    "deep melanin": (1.25, 0.95, 0.62),  # looks blue-grey: Tyndall effect
}
"""Optical density of one unit of each pigment in red, green and blue."""

SKINS = {  # Fitzpatrick type -> RGB in [0, 255] as a polarised dermatoscope shows it
    1: (238, 206, 196), 2: (229, 190, 172), 3: (212, 166, 140), 4: (182, 134, 106), 5: (140, 97, 74), 6: (98, 67, 53),
}  # fmt: skip
CANVAS = 1.75  # C / S


@dataclass(frozen=True)
class Lesion:
    """The facts about a lesion, fixed before it is drawn."""

    name: str
    key: tuple[int, ...]  # of its random stream
    drawn_class: str  # a key of RECIPES, also for an unlabelled lesion
    diagnosis: str | None  # as the table gives it; None: unlabelled
    views: int  # number of pictures
    patient: str
    age: float | None  # years
    sex: str
    site: str
    skin_type: int  # Fitzpatrick, 1 to 6


@dataclass(frozen=True)
class LesionShape:
    """Where a lesion lies on its canvas, before anything is coloured."""

    recipe: Mapping[str, float]  # amount of each of FEATURES
    across: Map  # (C, C) horizontal position on the skin, in halves of the picture's shorter side, 0 in the centre
    down: Map  # (C, C) vertical position, same unit
    radius: Map  # (C, C) distance from the lesion's centre: below 1 inside, 1 on its border


def lesion_stream(lesion: Lesion, seed: int) -> Random:
    """The random numbers of a lesion's shape and structures."""
    return stream(seed, *lesion.key, 4)


def draw_lesion(lesion: Lesion, image_size: int, difficulty: float, seed: int) -> Picture:
    """The lesion and the skin around it.

    Args:
        lesion: its facts; class and skin type decide how it is drawn.
        image_size: shorter side S of the pictures to be taken of it, pixels.
        difficulty: 0, the class's features are plainly there, to 1, nothing of the class is left.
        seed: of the data set.

    Returns:
        The canvas, (C, C, 3) RGB in [0, 1], where C is CANVAS times S.
    """
    random = lesion_stream(lesion, seed)
    shape = shape_lesion(lesion, image_size, difficulty, random)
    soft = 0.035 + 0.16 * shape.recipe["soft"] * random.uniform(0.6, 1.4)
    inside = soft_step((1 - shape.radius) / soft)  # (C, C) 1 in the lesion
    density = _skin(lesion.skin_type, len(inside), random)  # (3, C, C)
    for pigment, amount in _pigments(shape, inside, random):
        density += np.multiply.outer(np.array(PIGMENTS[pigment], np.float32), amount)
    planes: Planes = np.exp(-density)  # (3, C, C)
    for colour, share in _covers(shape, inside, random):
        planes += share * ((np.array(colour, np.float32) / 255)[:, None, None] - planes)
    return np.ascontiguousarray(np.moveaxis(planes, 0, 2), np.float32)  # (C, C, 3)


def shape_lesion(lesion: Lesion, image_size: int, difficulty: float, random: Random) -> LesionShape:
    """The lesion's recipe, coordinates and outline: the first draws from its `lesion_stream`."""
    recipe = blend(lesion.drawn_class, difficulty, random)
    across, down = _grid(round(CANVAS * image_size), random, recipe["ragged"])
    return LesionShape(recipe, across, down, _radius(across, down, recipe, random))


def blend(drawn_class: str, difficulty: float, random: Random) -> dict[str, float]:
    """A lesion's own recipe: that of its class, moved towards what all classes share, varied at random.

    At difficulty 1 nothing of the class is left: one half is the mean of all classes, the other half is a class drawn
    at random.
    """
    other_class = RECIPES[str(random.choice(list(RECIPES)))]
    chances = random.lognormal(-0.06, 0.35, len(FEATURES))
    recipe = {}
    for name, chance in zip(FEATURES, chances, strict=True):
        mean = sum(each.get(name, 0.0) for each in RECIPES.values()) / len(RECIPES)
        common = (mean + other_class.get(name, 0.0)) / 2
        recipe[name] = ((1 - difficulty) * RECIPES[drawn_class].get(name, 0.0) + difficulty * common) * float(chance)
    return recipe


def _clouds(random: Random, side: int, cells: float) -> Map:
    """Smooth noise (C, C), mean 0, standard deviation near 1, with `cells` bumps across; `side` is C."""
    count = max(3, round(cells) + 2)
    coarse = random.standard_normal((count, count), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


def _grid(side: int, random: Random, ragged: float) -> tuple[Map, Map]:
    """Positions `across` and `down` of LesionShape, distorted by noise so that borders are not smooth."""
    line = np.linspace(-CANVAS, CANVAS, side, dtype=np.float32)
    across, down = np.meshgrid(line, line)
    bend, fray = 0.06 + 0.14 * ragged, 0.01 + 0.05 * ragged
    across = across + bend * _clouds(random, side, 5) + fray * _clouds(random, side, 18)
    down = down + bend * _clouds(random, side, 5) + fray * _clouds(random, side, 18)
    return across, down


def _radius(across: Map, down: Map, recipe: Mapping[str, float], random: Random) -> Map:
    """`radius` of LesionShape: an ellipse and a second lobe, which makes the lesion asymmetric."""
    size = random.uniform(0.38, 0.74)
    stretch = 1 + 0.5 * recipe["elongated"] * random.random()
    first: Map = np.hypot(across / (size * stretch), down / (size / stretch))
    lobe = min(recipe["lobes"], 1.2)
    x, y = random_direction(random) * size * (0.25 + 0.55 * lobe)
    second: Map = np.hypot(across - x, down - y) / (size * (0.25 + 0.4 * min(lobe, 1.0)))
    nearer: Map = np.minimum(first, second)
    return nearer


def _skin(skin_type: int, side: int, random: Random) -> Planes:
    """Optical density of bare skin, (3, C, C): its tone with irregular pigment, blood and pores."""
    tone = np.array(SKINS[skin_type], np.float32) / 255
    density = -np.log(tone) + random.normal(0, 0.035, 3).astype(np.float32)  # (3,)
    mottle = 0.05 * _clouds(random, side, 7) + 0.03 * _clouds(random, side, 28)
    flush = 0.08 * np.abs(_clouds(random, side, 4)) + random.uniform(0, 0.12)
    pores = 0.03 * _clouds(random, side, side / 3)
    blood, melanin = (np.array(PIGMENTS[ink], np.float32) for ink in ("blood", "melanin"))
    planes: Planes = np.multiply.outer(melanin, mottle + pores) + np.multiply.outer(blood, flush)
    planes += density[:, None, None]
    return planes


def _pigments(shape: LesionShape, inside: Map, random: Random) -> Iterable[tuple[str, Map]]:
    """What darkens the skin: pigment and amount, (C, C) each."""
    recipe, radius, side = shape.recipe, shape.radius, len(inside)
    blotches = 1 + recipe["blotches"] * np.clip(_clouds(random, side, 6), -0.9, 1.4)
    yield "melanin", inside * recipe["brown"] * (0.62 * blotches + 0.2 * np.clip(1 - radius, 0, 1))
    fading = np.clip(
        1.3 - radius + 0.3 * _clouds(random, side, 5), 0, 1
    )  # the pigment network thins out towards the border
    yield "melanin", inside * fading * recipe["network"] * 0.8 * _network(shape.across, shape.down, random)
    yield "melanin", inside * recipe["dots"] * 1.1 * _spots(radius, 26, 0.022, 0.95, random)
    yield "melanin", inside * recipe["pits"] * 1.1 * _spots(radius, 14, 0.045, 0.85, random)
    yield "keratin", inside * recipe["waxy"] * (0.55 + 0.12 * _clouds(random, side, 9))
    yield "blood", inside * recipe["red"] * (0.75 + 0.25 * _clouds(random, side, 8))
    yield "blood", soft_step(1.6 - radius) * recipe["vessels"] * 1.15 * _vessels(side, random)
    yield "deep melanin", inside * recipe["nests"] * 0.85 * _spots(radius, 6, 0.1, 0.8, random)
    tint = float(random.beta(1, 2))  # from red to purple-black
    lacunae = inside * recipe["lacunae"] * _spots(radius, 26, 0.11, 0.8, random)
    yield "blood", lacunae * (1.5 - 0.6 * tint)
    yield "dark blood", lacunae * lacunae * (0.1 + 0.9 * tint)


def _covers(shape: LesionShape, inside: Map, random: Random) -> Iterable[tuple[tuple[int, int, int], Map]]:
    """What hides the skin: RGB colour in [0, 255] and covered share, (C, C) each."""
    recipe, radius, side = shape.recipe, shape.radius, len(inside)
    x, y = random_direction(random) * random.uniform(0, 0.2)
    veil = soft_step((0.28 - np.hypot(shape.across - x, shape.down - y)) / 0.14)
    yield (112, 124, 152), inside * _share(0.75 * recipe["veil"]) * veil
    yield (245, 222, 220), inside * _share(0.5 * recipe["pearl"]) * soft_step(_clouds(random, side, 7) + 0.3)
    yield (247, 238, 226), soft_step(1.15 - radius) * _share(0.85 * recipe["scale"]) * _scale(side, random)
    yield (250, 240, 205), inside * _share(0.9 * recipe["milia"]) * _spots(radius, 30, 0.03, 0.85, random)
    scar = soft_step((0.42 - radius + 0.06 * _clouds(random, side, 10)) / 0.2)
    yield (248, 232, 226), _share(0.85 * recipe["scar"]) * scar


def _share(amount: float) -> float:
    return min(amount, 0.95)


# --- structures, each (C, C) in [0, 1]


def _network(across: Map, down: Map, random: Random) -> Map:
    """A honeycomb of lines: the sum of three plane waves at 120 degrees is high in the holes only."""
    turn, wave = random.uniform(0, 360), 2 * np.pi / random.uniform(0.1, 0.145)
    turns = np.deg2rad(turn + np.array([0, 120, 240])).astype(np.float32)
    waves = [np.cos(across * (wave * x) + down * (wave * y)) for x, y in zip(np.cos(turns), np.sin(turns), strict=True)]
    return soft_step((0.3 - sum(waves)) / 1.3)


def _spots(radius: Map, count: int, size: float, reach: float, random: Random) -> Map:
    """About `count` spots of radius near `size` (halves of the picture's shorter side) where `radius` < `reach`."""
    side = len(radius)
    where = np.flatnonzero(radius < reach)
    found = np.zeros((side, side), np.uint8)
    if len(where):
        unit = (
            side / (2 * CANVAS) * 16
        )  # one half side in sixteenths of a pixel, so that circles have subpixel positions
        chosen = where[random.integers(len(where), size=random.poisson(count) + 3)]
        for row, column in zip(*np.divmod(chosen, side), strict=True):
            drawn = size * random.uniform(0.7, 1.4) * unit
            level = int(random.integers(150, 256))
            cv2.circle(found, (int(column * 16), int(row * 16)), max(8, int(drawn)), level, -1, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(found, (3, 3), 0).astype(np.float32) / 255


def _vessels(side: int, random: Random) -> Map:
    """Arborising vessels: they start at some distance from the centre, branch and become thinner."""
    found = np.zeros((side, side), np.uint8)
    step, middle = 0.055 * side / (2 * CANVAS) * 2, side / 2
    for _ in range(random.integers(3, 6)):
        angle = random.uniform(0, 2 * np.pi)
        start = middle - np.array([np.cos(angle), np.sin(angle)]) * side * random.uniform(0.1, 0.2)
        _draw_vessel(found, start, angle, step=step, order=3, random=random)
    return cv2.GaussianBlur(found, (3, 3), 0).astype(np.float32) / 255


def _draw_vessel(
    found: NDArray[np.uint8], start: NDArray[np.float64], angle: float, *, step: float, order: int, random: Random
) -> None:
    """Draw one vessel into `found` and, from its end, two thinner ones; `order` counts down to 1."""
    angles = angle + np.cumsum(random.normal(0, 0.25, 5))
    points = start + np.cumsum(np.stack([np.cos(angles), np.sin(angles)], 1) * step, axis=0)
    line = np.rint(np.vstack([start, points]) * 16).astype(np.int32)
    thick = max(1, round(order * len(found) / 330))
    cv2.polylines(found, [line], False, 95 + 50 * order, thick, cv2.LINE_AA, 4)
    if order > 1:
        for turn in (-0.6, 0.6):
            heading = angles[-1] + turn * random.uniform(0.6, 1.4)
            _draw_vessel(found, points[-1], heading, step=step, order=order - 1, random=random)


def _scale(side: int, random: Random) -> Map:
    """Flakes of scale, where coarse and fine noise are both high."""
    fine = _clouds(random, side, 44) + 0.6 * _clouds(random, side, 20)
    return soft_step(1.2 * (fine + 0.9 * _clouds(random, side, 6) - 1.1))
