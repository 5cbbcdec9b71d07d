"""SYNTHETIC dermoscopy: lesions drawn as layers of ink on skin, inspired by the seven classes of HAM10000.

A class is a recipe: how much of each structure its lesions show. A lesion is drawn once on a canvas larger
than the picture; its views are that canvas turned, shifted, zoomed and lit differently, with hair, ruler,
vignette and gel on top. Colour follows Beer and Lambert: structures add optical density to the skin's.

Everything is a pure function of settings and seed, and every lesion and view has a random stream of its own:
drawing more of them changes none of the others. Legend: C canvas side, S the picture's shorter side, pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from components.synthetic.confounders import Map, Picture, Random, _step

Planes: TypeAlias = NDArray[np.floating[Any]]  # (3, C, C) RGB in [0, 1], or optical density
Track: TypeAlias = Callable[["Iterable[Lesion]", int, str], "Iterable[Lesion]"]

# How often each class is drawn: one shuffled deck after the other, so that rare classes are never missing.
DECK = {"nv": 5, "mel": 3, "bkl": 3, "bcc": 2, "akiec": 2, "vasc": 1, "df": 1}

# What each class shows. Borders: elongated, lobes (asymmetry), ragged, soft. The rest are amounts of structures.
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
STRUCTURES = sorted({name for recipe in RECIPES.values() for name in recipe})


# Optical density of one unit of ink in red, green and blue.
INKS: dict[str, tuple[float, float, float]] = {
    "melanin": (0.55, 1.05, 1.50),
    "keratin": (0.25, 0.50, 1.00),  # yellow-brown, waxy
    "blood": (0.12, 0.85, 0.62),
    "dark blood": (0.75, 1.70, 1.05),  # purple
    "deep melanin": (1.25, 0.95, 0.62),  # looks blue-grey: Tyndall effect
}
SKINS = {  # Fitzpatrick type -> RGB in [0, 255] as a polarised dermatoscope shows it
    1: (238, 206, 196), 2: (229, 190, 172), 3: (212, 166, 140), 4: (182, 134, 106), 5: (140, 97, 74), 6: (98, 67, 53),
}  # fmt: skip
SKIN_SHARES = (0.14, 0.36, 0.26, 0.14, 0.07, 0.03)
SITES = ("abdomen", "back", "chest", "face", "foot", "lower extremity", "neck", "trunk", "upper extremity")
PATIENT_SIZES = (1, 1, 1, 2, 3)  # lesions of five patients, in an order drawn anew each time
CANVAS = 1.75  # C / S


@dataclass(frozen=True)
class Lesion:
    """What is known of a lesion before it is drawn."""

    name: str
    key: tuple[int, ...]  # of its random stream
    kind: str  # what is drawn, also where nobody tells the diagnosis
    diagnosis: str | None
    views: int
    patient: str
    age: float | None  # years
    sex: str
    site: str
    skin_type: int


# --- who has which lesion ---------------------------------------------------------------------------------------


def stream(seed: int, *key: int) -> Random:
    """The random numbers of one thing, independent of how many other things there are."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


# --- a lesion on its canvas -------------------------------------------------------------------------------------


def draw_lesion(lesion: Lesion, image_size: int, difficulty: float, seed: int) -> Picture:
    """The lesion and the skin around it: (C, C, 3)."""
    random, recipe, across, down, rho = _shape(lesion, image_size, difficulty, seed)
    side = len(rho)
    soft = 0.035 + 0.16 * recipe["soft"] * random.uniform(0.6, 1.4)
    inside = _step((1 - rho) / soft)  # 1 in the lesion
    density = _skin(lesion.skin_type, side, random)
    for ink, amount in _inks(recipe, across, down, rho, inside, random):
        density += np.multiply.outer(np.array(INKS[ink], np.float32), amount)
    planes: Planes = np.exp(-density)  # (3, C, C)
    for colour, share in _covers(recipe, across, down, rho, inside, random):
        planes += share * ((np.array(colour, np.float32) / 255)[:, None, None] - planes)
    return np.ascontiguousarray(np.moveaxis(planes, 0, 2), np.float32)  # (C, C, 3)


def _shape(
    lesion: Lesion, image_size: int, difficulty: float, seed: int
) -> tuple[Random, dict[str, float], Map, Map, Map]:
    """The lesion's stream, recipe and coordinates, and the distance from its middle, 1 at its border."""
    random = stream(seed, *lesion.key, 4)
    recipe = blend(lesion.kind, difficulty, random)
    across, down = _grid(round(CANVAS * image_size), random, recipe["ragged"])
    return random, recipe, across, down, _radius(across, down, recipe, random)


def blend(kind: str, difficulty: float, random: Random) -> dict[str, float]:
    """A lesion's own recipe: the class's, drawn towards what all classes share, varied by chance.

    At difficulty 1 nothing of the class is left: half is the mean of all, half a class drawn blindly.
    """
    stranger = RECIPES[str(random.choice(list(RECIPES)))]
    chances = random.lognormal(-0.06, 0.35, len(STRUCTURES))
    recipe = {}
    for name, chance in zip(STRUCTURES, chances, strict=True):
        mean = sum(other.get(name, 0.0) for other in RECIPES.values()) / len(RECIPES)
        common = (mean + stranger.get(name, 0.0)) / 2
        recipe[name] = ((1 - difficulty) * RECIPES[kind].get(name, 0.0) + difficulty * common) * float(chance)
    return recipe


def _clouds(random: Random, side: int, cells: float) -> Map:
    """Smooth noise, mean 0, about 1 strong, with `cells` bumps across."""
    count = max(3, round(cells) + 2)
    coarse = random.standard_normal((count, count), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


def _direction(random: Random) -> NDArray[np.float32]:
    """A unit vector: across, down."""
    angle = random.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)], np.float32)


def _grid(side: int, random: Random, ragged: float) -> tuple[Map, Map]:
    """Where each pixel lies on the skin, in half sides of the picture, bent by noise: across, down."""
    line = np.linspace(-CANVAS, CANVAS, side, dtype=np.float32)
    across, down = np.meshgrid(line, line)
    bend, fray = 0.06 + 0.14 * ragged, 0.01 + 0.05 * ragged
    across = across + bend * _clouds(random, side, 5) + fray * _clouds(random, side, 18)
    down = down + bend * _clouds(random, side, 5) + fray * _clouds(random, side, 18)
    return across, down


def _radius(across: Map, down: Map, recipe: Mapping[str, float], random: Random) -> Map:
    """Distance from the lesion's middle, 1 at its border; a second lobe makes it asymmetric."""
    size = random.uniform(0.38, 0.74)
    stretch = 1 + 0.5 * recipe["elongated"] * random.random()
    first: Map = np.hypot(across / (size * stretch), down / (size / stretch))
    lobe = min(recipe["lobes"], 1.2)
    x, y = _direction(random) * size * (0.25 + 0.55 * lobe)
    second: Map = np.hypot(across - x, down - y) / (size * (0.25 + 0.4 * min(lobe, 1.0)))
    nearer: Map = np.minimum(first, second)
    return nearer


def _skin(skin_type: int, side: int, random: Random) -> Planes:
    """Optical density of bare skin: its tone, mottled, with pores."""
    tone = np.array(SKINS[skin_type], np.float32) / 255
    density = -np.log(tone) + random.normal(0, 0.035, 3).astype(np.float32)  # (3,)
    mottle = 0.05 * _clouds(random, side, 7) + 0.03 * _clouds(random, side, 28)
    flush = 0.08 * np.abs(_clouds(random, side, 4)) + random.uniform(0, 0.12)
    pores = 0.03 * _clouds(random, side, side / 3)
    blood, melanin = (np.array(INKS[ink], np.float32) for ink in ("blood", "melanin"))
    planes: Planes = np.multiply.outer(melanin, mottle + pores) + np.multiply.outer(blood, flush)
    planes += density[:, None, None]
    return planes


def _inks(
    recipe: Mapping[str, float], across: Map, down: Map, rho: Map, inside: Map, random: Random
) -> Iterable[tuple[str, Map]]:
    """What darkens the skin: ink and amount, each (C, C)."""
    side = len(rho)
    blotches = 1 + recipe["blotches"] * np.clip(_clouds(random, side, 6), -0.9, 1.4)
    yield "melanin", inside * recipe["brown"] * (0.62 * blotches + 0.2 * np.clip(1 - rho, 0, 1))
    fading = np.clip(1.3 - rho + 0.3 * _clouds(random, side, 5), 0, 1)  # the net thins out towards the border
    yield "melanin", inside * fading * recipe["network"] * 0.8 * _network(across, down, random)
    yield "melanin", inside * recipe["dots"] * 1.1 * _spots(rho, 26, 0.022, 0.95, random)
    yield "melanin", inside * recipe["pits"] * 1.1 * _spots(rho, 14, 0.045, 0.85, random)
    yield "keratin", inside * recipe["waxy"] * (0.55 + 0.12 * _clouds(random, side, 9))
    yield "blood", inside * recipe["red"] * (0.75 + 0.25 * _clouds(random, side, 8))
    yield "blood", _step(1.6 - rho) * recipe["vessels"] * 1.15 * _vessels(rho, random)
    yield "deep melanin", inside * recipe["nests"] * 0.85 * _spots(rho, 6, 0.1, 0.8, random)
    tint = float(random.beta(1, 2))  # from red to purple-black
    lacunae = inside * recipe["lacunae"] * _spots(rho, 26, 0.11, 0.8, random)
    yield "blood", lacunae * (1.5 - 0.6 * tint)
    yield "dark blood", lacunae * lacunae * (0.1 + 0.9 * tint)


def _covers(
    recipe: Mapping[str, float], across: Map, down: Map, rho: Map, inside: Map, random: Random
) -> Iterable[tuple[tuple[int, int, int], Map]]:
    """What hides the skin: RGB colour in [0, 255] and share of cover, each (C, C)."""
    side = len(rho)
    x, y = _direction(random) * random.uniform(0, 0.2)
    veil = _step((0.28 - np.hypot(across - x, down - y)) / 0.14)
    yield (112, 124, 152), inside * _share(0.75 * recipe["veil"]) * veil
    yield (245, 222, 220), inside * _share(0.5 * recipe["pearl"]) * _step(_clouds(random, side, 7) + 0.3)
    yield (247, 238, 226), _step(1.15 - rho) * _share(0.85 * recipe["scale"]) * _scale(side, random)
    yield (250, 240, 205), inside * _share(0.9 * recipe["milia"]) * _spots(rho, 30, 0.03, 0.85, random)
    scar = _step((0.42 - rho + 0.06 * _clouds(random, side, 10)) / 0.2)
    yield (248, 232, 226), _share(0.85 * recipe["scar"]) * scar


def _share(amount: float) -> float:
    return min(amount, 0.95)


# --- structures, each (C, C) in [0, 1] ---------------------------------------------------------------------------


def _network(across: Map, down: Map, random: Random) -> Map:
    """A honeycomb of lines: three waves at 120 degrees are all high in the holes alone."""
    turn, wave = random.uniform(0, 360), 2 * np.pi / random.uniform(0.1, 0.145)
    turns = np.deg2rad(turn + np.array([0, 120, 240])).astype(np.float32)
    waves = [np.cos(across * (wave * x) + down * (wave * y)) for x, y in zip(np.cos(turns), np.sin(turns), strict=True)]
    return _step((0.3 - sum(waves)) / 1.3)


def _spots(rho: Map, count: int, radius: float, reach: float, random: Random) -> Map:
    """Round spots of about `radius` half sides, within `reach` of the way to the border."""
    side = len(rho)
    where = np.flatnonzero(rho < reach)
    found = np.zeros((side, side), np.uint8)
    if len(where):
        unit = side / (2 * CANVAS) * 16  # pixels a half side, in sixteenths: circles at fractions of a pixel
        chosen = where[random.integers(len(where), size=random.poisson(count) + 3)]
        for row, column in zip(*np.divmod(chosen, side), strict=True):
            size = radius * random.uniform(0.7, 1.4) * unit
            level = int(random.integers(150, 256))
            cv2.circle(found, (int(column * 16), int(row * 16)), max(8, int(size)), level, -1, cv2.LINE_AA, 4)
    return cv2.GaussianBlur(found, (3, 3), 0).astype(np.float32) / 255


def _vessels(rho: Map, random: Random) -> Map:
    """Arborising vessels: trunks that wander in from the border, branch and thin out."""
    side = len(rho)
    found = np.zeros((side, side), np.uint8)
    step, middle = 0.055 * side / (2 * CANVAS) * 2, side / 2
    for _ in range(random.integers(3, 6)):
        angle = random.uniform(0, 2 * np.pi)
        start = middle - np.array([np.cos(angle), np.sin(angle)]) * side * random.uniform(0.1, 0.2)
        _branch(found, start, angle, step, 3, side, random)
    return cv2.GaussianBlur(found, (3, 3), 0).astype(np.float32) / 255


def _branch(
    found: NDArray[np.uint8], start: NDArray[np.float64], angle: float, step: float, order: int, side: int,
    random: Random,
) -> None:  # fmt: skip
    """One vessel and, from its end, two thinner ones."""
    angles = angle + np.cumsum(random.normal(0, 0.25, 5))
    points = start + np.cumsum(np.stack([np.cos(angles), np.sin(angles)], 1) * step, axis=0)
    line = np.rint(np.vstack([start, points]) * 16).astype(np.int32)
    thick = max(1, round(order * side / 330))
    cv2.polylines(found, [line], False, 95 + 50 * order, thick, cv2.LINE_AA, 4)
    if order > 1:
        for turn in (-0.6, 0.6):
            _branch(found, points[-1], angles[-1] + turn * random.uniform(0.6, 1.4), step, order - 1, side, random)


def _scale(side: int, random: Random) -> Map:
    """Flakes: where coarse and fine noise are both high."""
    fine = _clouds(random, side, 44) + 0.6 * _clouds(random, side, 20)
    return _step(1.2 * (fine + 0.9 * _clouds(random, side, 6) - 1.1))


# --- a view of the canvas ---------------------------------------------------------------------------------------


# --- confounders, each draws on a picture -------------------------------------------------------------------------
