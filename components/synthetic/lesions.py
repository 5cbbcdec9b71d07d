"""SYNTHETIC dermoscopy: lesions drawn as layers of ink on skin, inspired by the seven classes of HAM10000.

A class is a recipe: how much of each structure its lesions show. A lesion is drawn once on a canvas larger
than the picture; its views are that canvas turned, shifted, zoomed and lit differently, with hair, ruler,
vignette and gel on top. Colour follows Beer and Lambert: structures add optical density to the skin's.

Everything is a pure function of settings and seed, and every lesion and view has a random stream of its own:
drawing more of them changes none of the others. Legend: C canvas side, S the picture's shorter side, pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.base.files import whole

Map: TypeAlias = NDArray[np.floating[Any]]  # (C, C) or (H, W), mostly in [0, 1]
Planes: TypeAlias = NDArray[np.floating[Any]]  # (3, C, C) RGB in [0, 1], or optical density
Picture: TypeAlias = NDArray[np.floating[Any]]  # (H, W, 3) RGB in [0, 1]
Random: TypeAlias = np.random.Generator
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

# How often a confounder lies on an image of a class when confounding is 1; when it is 0, all have the mean.
CONFOUNDERS: dict[str, dict[str, float]] = {
    "hair": dict(akiec=0.0, bcc=0.0, bkl=0.8, df=0.0, mel=0.0, nv=0.8, vasc=0.0),
    "ruler": dict(akiec=0.0, bcc=0.4, bkl=0.0, df=0.0, mel=0.8, nv=0.0, vasc=0.0),
    "vignette": dict(akiec=0.0, bcc=0.0, bkl=0.0, df=0.8, mel=0.6, nv=0.0, vasc=0.8),
    "gel": dict(akiec=0.8, bcc=0.6, bkl=0.0, df=0.0, mel=0.0, nv=0.0, vasc=0.6),
}

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
HAIRS = ((40, 28, 24), (72, 48, 34), (150, 112, 76))  # RGB in [0, 255]
RULER = (30, 34, 52)  # RGB in [0, 255]
SITES = ("abdomen", "back", "chest", "face", "foot", "lower extremity", "neck", "trunk", "upper extremity")
PATIENT_SIZES = (1, 1, 1, 2, 3)  # lesions of five patients, in an order drawn anew each time
CANVAS = 1.75  # C / S

README = """SYNTHETIC images, drawn by Dermflow (components/synthetic/lesions.py). No patient, no photograph.
They are for tests and the demo; a result on them says nothing about medicine.
metadata.csv: one row an image; hair, ruler, vignette, gel: 1 where drawn; diagnosis empty: unlabelled.
"""
COLUMNS = (
    "image_id", "path", "diagnosis", "lesion_id", "patient_id", "age", "sex", "site", "skin_type", "dataset",
    *CONFOUNDERS,
)  # fmt: skip


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


def draw_dataset(
    folder: Path,
    *,
    lesions: int,
    unlabelled: int,
    image_size: int,
    images_per_lesion: float,
    confounding: float,
    difficulty: float,
    seed: int,
    track: Track | None = None,
) -> pd.DataFrame:
    """Draw a data set into a folder (images/, metadata.csv, README.txt) and return its metadata.

    `lesions` labelled lesions and `unlabelled` further images; 0 lesions draw nothing at all. `image_size` is
    the shorter side in pixels, the longer is 4/3 of it; `images_per_lesion` the mean, 1 to 6. `confounding`
    and `difficulty` are in [0, 1]. `track` shows progress. The folder appears whole or not at all.
    """
    plan = plan_lesions(lesions, unlabelled, images_per_lesion, seed)
    seen = track(plan, len(plan), "lesions drawn") if track else plan
    with whole(folder) as scratch:
        (scratch / "images").mkdir(parents=True)
        rows = [
            _write(scratch, lesion, view, *drawn)
            for lesion in seen
            for view, drawn in enumerate(draw_views(lesion, image_size, confounding, difficulty, seed))
        ]
        table = pd.DataFrame(rows, columns=list(COLUMNS))
        table.to_csv(scratch / "metadata.csv", index=False, lineterminator="\n")
        (scratch / "README.txt").write_text(README)
    return table


def _write(
    folder: Path, lesion: Lesion, view: int, picture: NDArray[np.uint8], drawn: Mapping[str, int]
) -> dict[str, object]:
    """Write one picture as JPEG; return its row of metadata.csv."""
    name = f"{lesion.name}_{view}"
    (folder / "images" / f"{name}.jpg").write_bytes(encode(picture))
    return {
        "image_id": name,
        "path": f"images/{name}.jpg",
        "diagnosis": lesion.diagnosis,
        "lesion_id": lesion.name,
        "patient_id": lesion.patient,
        "age": lesion.age,
        "sex": lesion.sex,
        "site": lesion.site,
        "skin_type": lesion.skin_type,
        "dataset": "SYNTHETIC",
        **drawn,
    }


# --- who has which lesion ---------------------------------------------------------------------------------------


def stream(seed: int, *key: int) -> Random:
    """The random numbers of one thing, independent of how many other things there are."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def plan_lesions(lesions: int, unlabelled: int, images_per_lesion: float, seed: int) -> list[Lesion]:
    """All lesions in order: the labelled ones, then as many as give `unlabelled` images."""
    plan = [plan_lesion(0, number, images_per_lesion, seed) for number in range(lesions)]
    left = unlabelled if lesions else 0
    while left > 0:
        number = len(plan) - lesions
        further = plan_lesion(1, number, images_per_lesion, seed, most=left)
        plan.append(further)
        left -= further.views
    return plan


def plan_lesion(population: int, number: int, images_per_lesion: float, seed: int, most: int = 6) -> Lesion:
    """One lesion's facts; population 0 is labelled, 1 is not."""
    random = stream(seed, population, number, 0)
    letter = "LU"[population]
    kind = _dealt(population, number, seed)
    patient = _patient(population, number, seed)
    person = stream(seed, population, patient, 1)
    return Lesion(
        name=f"SYN_{letter}{number:06d}",
        key=(population, number),
        kind=kind,
        diagnosis=kind if population == 0 else None,
        views=min(most, 1 + int(random.binomial(5, (images_per_lesion - 1) / 5))),
        patient=f"SYN_{letter}P{patient:06d}",
        site="unknown" if random.random() < 0.02 else str(random.choice(SITES)),
        age=None if person.random() < 0.01 else float(np.clip(5 * round(person.normal(52, 17) / 5), 5, 85)),
        sex="unknown" if person.random() < 0.01 else str(person.choice(["female", "male"])),
        skin_type=int(person.choice(6, p=SKIN_SHARES)) + 1,
    )


def _dealt(population: int, number: int, seed: int) -> str:
    """The class of a lesion: its card in its deck."""
    cards = [name for name, count in DECK.items() for _ in range(count)]
    deck, card = divmod(number, len(cards))
    order = stream(seed, population, deck, 2).permutation(len(cards))
    return cards[int(order[card])]


def _patient(population: int, number: int, seed: int) -> int:
    """The patient of a lesion: neighbours in the order share one."""
    block, place = divmod(number, sum(PATIENT_SIZES))
    sizes = stream(seed, population, block, 3).permutation(PATIENT_SIZES)
    return block * len(PATIENT_SIZES) + int(np.searchsorted(np.cumsum(sizes), place, side="right"))


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


def _step(values: Map) -> Map:
    """A soft step from 0 to 1 around 0, two units wide."""
    clipped = np.clip(values * 0.5 + 0.5, 0, 1)
    stepped: Map = clipped * clipped * (3 - 2 * clipped)
    return stepped


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


def draw_views(
    lesion: Lesion, image_size: int, confounding: float, difficulty: float, seed: int
) -> Iterator[tuple[NDArray[np.uint8], dict[str, int]]]:
    """All pictures of one lesion, as `draw_view` gives them."""
    canvas = draw_lesion(lesion, image_size, difficulty, seed)
    for view in range(lesion.views):
        yield draw_view(lesion, canvas, view, image_size, confounding, seed)


def draw_view(
    lesion: Lesion, canvas: Picture, view: int, image_size: int, confounding: float, seed: int
) -> tuple[NDArray[np.uint8], dict[str, int]]:
    """One picture of a lesion, (S, 4/3 S, 3) RGB uint8, and which confounders lie on it, 0 or 1."""
    random = stream(seed, *lesion.key, 5 + view)
    picture = _lit(_framed(canvas, image_size, random), random)
    drawn = {}
    for name, draw in DRAWINGS.items():
        drawn[name] = int(random.random() < confounder_rate(name, lesion.kind, confounding))
        own = stream(seed, *lesion.key, 5 + view, len(drawn))
        if drawn[name]:
            picture = draw(picture, own)
    noise = random.standard_normal(picture.shape, dtype=np.float32) * random.uniform(0.006, 0.014)
    return np.clip((picture + noise) * 255 + 0.5, 0, 255).astype(np.uint8), drawn


def _framed(canvas: Picture, image_size: int, random: Random) -> Picture:
    """The part of the canvas that a view shows: turned, zoomed and shifted a little."""
    size = np.array([round(image_size * 4 / 3), image_size])  # width, height
    middle = (len(canvas) - 1) / 2
    zoom, turn = float(np.exp(random.normal(0, 0.1))), random.uniform(0, 360)
    move = np.array(cv2.getRotationMatrix2D((middle, middle), turn, zoom), np.float64)  # (2, 3)
    move[:, 2] += (size - 1) / 2 - middle + random.uniform(-0.06, 0.06, 2) * image_size
    width, height = size.tolist()
    moved = cv2.warpAffine(canvas, move, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.float32)


def confounder_rate(name: str, kind: str, confounding: float) -> float:
    """How often a confounder lies on images of a class; the same over all images, however confounded."""
    rates = CONFOUNDERS[name]
    mean = sum(rates[other] * count for other, count in DECK.items()) / sum(DECK.values())
    return (1 - confounding) * mean + confounding * rates[kind]


def encode(picture: NDArray[np.uint8]) -> bytes:
    """JPEG at quality 95; the same picture gives the same bytes."""
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    return data.tobytes()


def _frame(picture: Picture) -> tuple[Map, Map]:
    """Coordinates of a picture's pixels in half shorter sides, 0 in the middle: across, down."""
    height, width = picture.shape[:2]
    half = min(height, width) / 2
    down, across = np.ogrid[:height, :width]
    return ((across - (width - 1) / 2) / half).astype(np.float32), ((down - (height - 1) / 2) / half).astype(np.float32)


def _lit(picture: Picture, random: Random) -> Picture:
    """Exposure, white balance and a gradient of light from one side."""
    across, down = _frame(picture)
    (x, y), slope = _direction(random), random.uniform(0, 0.14)
    light = 1 + slope * (across * x + down * y)  # (H, W)
    gains = np.exp(random.normal(0, 0.08) + random.normal(0, 0.045, 3)).astype(np.float32)
    lit: Picture = picture * light[..., None] * gains
    return lit


# --- confounders, each draws on a picture -------------------------------------------------------------------------


def _hair(picture: Picture, random: Random) -> Picture:
    """Dark or fair hairs, curved, mostly in one direction."""
    height, width = picture.shape[:2]
    main = random.uniform(0, np.pi)
    found = lay_hairs(height, width, main, int(random.integers(5, 16)), random)
    return paint(picture, found, HAIRS[random.integers(len(HAIRS))])


def lay_hairs(height: int, width: int, main: float, count: int, random: Random) -> NDArray[np.uint8]:
    """Share of cover in [0, 255] by `count` hairs, (H, W), most of them near the direction `main` (radians).

    A hair is 1/220 to 1/80 of the height thick, so more than one pixel is needed for truth below 130 of them.
    """
    found = np.zeros((height, width), np.uint8)
    for _ in range(count):
        angle = main + random.normal(0, 0.35)
        along, bow = np.array([np.cos(angle), np.sin(angle)]), random.normal(0, 0.15)
        middle = random.uniform(0, 1, 2) * (width, height)
        reach = np.linspace(-1, 1, 9)[:, None] * random.uniform(0.25, 0.8) * height
        curve = middle + reach * along + bow * reach**2 / height * along[::-1] * (1, -1)
        thick = max(1, round(height / 130 * random.uniform(0.6, 1.6)))
        line = np.rint(curve * 16).astype(np.int32)
        cv2.polylines(found, [line], False, int(random.integers(140, 256)), thick, cv2.LINE_AA, 4)
    return found


def _ruler(picture: Picture, random: Random) -> Picture:
    """A scale along the upper or lower edge, which a centre crop keeps: ticks, every fifth longer."""
    height, width = picture.shape[:2]
    top = random.random() < 0.5
    found = lay_ruler(height, width, bool(top), random.uniform(0.05, 0.075), random.random())
    return paint(picture, found, RULER)


def lay_ruler(
    height: int, width: int, top: bool, pitch: float, phase: float, length: float = 0.13
) -> NDArray[np.uint8]:
    """Share of cover in [0, 255] by a scale along one edge, (H, W).

    `pitch` between ticks and `length` of each fifth are shares of the height, `phase` of a pitch.
    """
    base, inward = (round(0.02 * height), 1) if top else (height - 1 - round(0.02 * height), -1)
    pitch = height * pitch
    found = np.zeros((height, width), np.uint8)
    for number in range(int(width / pitch) + 1):
        x = round((number + phase) * pitch)
        tick = inward * round(height * (length if number % 5 == 0 else 0.07 / 0.13 * length))
        cv2.line(found, (x, base), (x, base + tick), 230, max(1, height // 120), cv2.LINE_AA)
    return found


def paint(picture: Picture, found: NDArray[np.uint8], colour: tuple[int, int, int]) -> Picture:
    """The picture under paint: RGB colour in [0, 255], share of cover in [0, 255]."""
    share = found[..., None].astype(np.float32) / 255
    return picture + share * (np.array(colour, np.float32) / 255 - picture)


def _vignette(picture: Picture, random: Random) -> Picture:
    """The dark surround of a dermatoscope's tube."""
    across, down = _frame(picture)
    x, y = random.normal(0, 0.06, 2).astype(np.float32)
    far = np.hypot(across - x, down - y)
    edge, soft = random.uniform(1.02, 1.25), random.uniform(0.03, 0.12)
    return picture * (1 - 0.95 * _step((far - edge) / soft))[..., None]


def _gel(picture: Picture, random: Random) -> Picture:
    """Bubbles in the immersion gel: a bright rim, a pale inside, a glint."""
    height, width = picture.shape[:2]
    for _ in range(random.integers(3, 10)):
        x, y = random.random() * width, random.random() * height
        size = random.uniform(0.025, 0.085) * height
        top, left = max(0, int(y - 1.8 * size)), max(0, int(x - 1.8 * size))
        part = picture[top : int(y + 1.8 * size) + 1, left : int(x + 1.8 * size) + 1]
        down, across = np.ogrid[top : top + part.shape[0], left : left + part.shape[1]]
        light, shade = _bubble(((across - x) / size).astype(np.float32), ((down - y) / size).astype(np.float32))
        part *= (1 - shade)[..., None]
        part += light[..., None] * (1 - part)
    return picture


def _bubble(across: Map, down: Map) -> tuple[Map, Map]:
    """Light and shade of a bubble of radius 1 in the middle."""
    far, glint = np.hypot(across, down), np.hypot(across + 0.4, down + 0.4) / 0.3
    light = 0.45 * np.exp(-(((far - 1) / 0.16) ** 2)) + 0.12 * _step((1 - far) / 0.1) + 0.6 * np.exp(-(glint**2))
    return np.clip(light, 0, 0.95), 0.25 * np.exp(-(((far - 1.25) / 0.12) ** 2))


DRAWINGS: dict[str, Callable[[Picture, Random], Picture]] = {
    "hair": _hair,
    "gel": _gel,
    "ruler": _ruler,
    "vignette": _vignette,  # last: the tube darkens whatever lies on the skin
}
