"""The SYNTHETIC data set: which patient has which lesions, the pictures of each, and the table that describes them.

The views of a lesion are its canvas rotated, zoomed, shifted and lit differently, with confounders on top. Everything
is a pure function of settings and seed, and every patient, lesion and view has a random stream of its own: drawing more
of them changes none of the others. Legend: S shorter side of a picture, pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from components.base.files import whole
from components.synthetic.confounders import CONFOUNDERS, DRAWINGS
from components.synthetic.drawing import Picture, Random, pixel_coordinates, random_direction, stream
from components.synthetic.lesions import Lesion, draw_lesion

Track: TypeAlias = Callable[[Iterable[Lesion], int, str], Iterable[Lesion]]

CLASS_COUNTS = {"nv": 5, "mel": 3, "bkl": 3, "bcc": 2, "akiec": 2, "vasc": 1, "df": 1}
"""Class -> lesions among each 17 in a row, in an order drawn for each block, so that no rare class is missing."""

SKIN_SHARES = (0.14, 0.36, 0.26, 0.14, 0.07, 0.03)  # of Fitzpatrick types 1 to 6
SITES = ("abdomen", "back", "chest", "face", "foot", "lower extremity", "neck", "trunk", "upper extremity")
PATIENT_SIZES = (1, 1, 1, 2, 3)  # lesions of each five patients in a row, in an order drawn for each block

README = """SYNTHETIC images, drawn by Dermflow (`dvc repro synthesize`). No patient, no photograph.
They are for tests and the demo; a result on them says nothing about medicine.
metadata.csv: one row an image; hair, ruler, vignette, gel: 1 where drawn; diagnosis empty: unlabelled.
"""

COLUMNS = (
    "image_id", "path", "diagnosis", "lesion_id", "patient_id", "age", "sex", "site", "skin_type", "dataset",
    *CONFOUNDERS,
)  # fmt: skip


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
    """Draw a data set into a folder: images/, metadata.csv, README.txt.

    The folder is written atomically and replaces one that exists.

    Args:
        folder: where the data set goes.
        lesions: number of labelled lesions; 0 draws nothing at all.
        unlabelled: number of images without a diagnosis, of further lesions of other patients.
        image_size: shorter side of the images, pixels; the longer is 4/3 of it.
        images_per_lesion: mean, 1 to 6.
        confounding: 0, all confounders are equally frequent in all classes, to 1, see CONFOUNDERS.
        difficulty: 0, classes are plainly different, to 1, nothing distinguishes them.
        seed: of everything that is drawn.
        track: shows progress, as `Log.track` does.

    Returns:
        The metadata, one row an image: COLUMNS.
    """
    plan = plan_lesions(lesions, unlabelled, images_per_lesion, seed)
    seen = track(plan, len(plan), "lesions drawn") if track else plan
    with whole(folder) as scratch:
        (scratch / "images").mkdir(parents=True)
        rows = [
            _write(scratch, lesion, view, *drawn)
            for lesion in seen
            for view, drawn in enumerate(
                draw_views(lesion, image_size=image_size, confounding=confounding, difficulty=difficulty, seed=seed)
            )
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


def plan_lesions(lesions: int, unlabelled: int, images_per_lesion: float, seed: int) -> list[Lesion]:
    """All lesions in order: the labelled ones, then as many as are needed for `unlabelled` images."""
    plan = [plan_lesion(0, number, images_per_lesion, seed) for number in range(lesions)]
    left = unlabelled if lesions else 0
    while left > 0:
        number = len(plan) - lesions
        further = plan_lesion(1, number, images_per_lesion, seed, most=left)
        plan.append(further)
        left -= further.views
    return plan


def plan_lesion(population: int, number: int, images_per_lesion: float, seed: int, most: int = 6) -> Lesion:
    """The facts of one lesion, with at most `most` views; population 0 is labelled, 1 is not."""
    random = stream(seed, population, number, 0)
    letter = "LU"[population]
    drawn_class = _class_of(population, number, seed)
    patient = _patient_of(population, number, seed)
    person = stream(seed, population, patient, 1)
    return Lesion(
        name=f"SYN_{letter}{number:06d}",
        key=(population, number),
        drawn_class=drawn_class,
        diagnosis=drawn_class if population == 0 else None,
        views=min(most, 1 + int(random.binomial(5, (images_per_lesion - 1) / 5))),
        patient=f"SYN_{letter}P{patient:06d}",
        site="unknown" if random.random() < 0.02 else str(random.choice(SITES)),
        age=None if person.random() < 0.01 else float(np.clip(5 * round(person.normal(52, 17) / 5), 5, 85)),
        sex="unknown" if person.random() < 0.01 else str(person.choice(["female", "male"])),
        skin_type=int(person.choice(6, p=SKIN_SHARES)) + 1,
    )


def _class_of(population: int, number: int, seed: int) -> str:
    """The class of a lesion: its place in a shuffled block of CLASS_COUNTS."""
    classes = [name for name, count in CLASS_COUNTS.items() for _ in range(count)]
    block, place = divmod(number, len(classes))
    order = stream(seed, population, block, 2).permutation(len(classes))
    return classes[int(order[place])]


def _patient_of(population: int, number: int, seed: int) -> int:
    """The patient of a lesion; consecutive lesions share one."""
    block, place = divmod(number, sum(PATIENT_SIZES))
    sizes = stream(seed, population, block, 3).permutation(PATIENT_SIZES)
    return block * len(PATIENT_SIZES) + int(np.searchsorted(np.cumsum(sizes), place, side="right"))


def draw_views(
    lesion: Lesion, *, image_size: int, confounding: float, difficulty: float, seed: int
) -> Iterator[tuple[NDArray[np.uint8], dict[str, int]]]:
    """All pictures of one lesion, as `draw_view` gives them."""
    canvas = draw_lesion(lesion, image_size, difficulty, seed)
    for view in range(lesion.views):
        yield draw_view(lesion, canvas, view, image_size=image_size, confounding=confounding, seed=seed)


def draw_view(
    lesion: Lesion, canvas: Picture, view: int, *, image_size: int, confounding: float, seed: int
) -> tuple[NDArray[np.uint8], dict[str, int]]:
    """One picture of a lesion.

    Args:
        lesion: its facts.
        canvas: what `draw_lesion` gives for it.
        view: number of the picture, from 0.
        image_size: shorter side S, pixels.
        confounding: how strongly confounders depend on the class, in [0, 1].
        seed: of the data set.

    Returns:
        The picture, (S, 4/3 S, 3) RGB uint8, and which confounders lie on it, 0 or 1.
    """
    random = view_stream(lesion, view, seed)
    picture = _light(frame_view(canvas, image_size, random), random)
    drawn = {}
    for name, draw in DRAWINGS.items():
        drawn[name] = int(random.random() < confounder_rate(name, lesion.drawn_class, confounding))
        own = view_stream(lesion, view, seed, len(drawn))
        if drawn[name]:
            picture = draw(picture, own)
    noise = random.standard_normal(picture.shape, dtype=np.float32) * random.uniform(0.006, 0.014)
    return np.clip((picture + noise) * 255 + 0.5, 0, 255).astype(np.uint8), drawn


def view_stream(lesion: Lesion, view: int, seed: int, *part: int) -> Random:
    """The random numbers of one view, or of one part of it."""
    return stream(seed, *lesion.key, 5 + view, *part)


def frame_view(canvas: Picture, image_size: int, random: Random) -> Picture:
    """The part of the canvas that a view shows, rotated, zoomed and shifted: the first draws from its `view_stream`.

    Takes (C, C, 3) or (C, C) and returns (S, 4/3 S, 3) or (S, 4/3 S).
    """
    size = np.array([round(image_size * 4 / 3), image_size])  # width, height
    middle = (len(canvas) - 1) / 2
    zoom, turn = float(np.exp(random.normal(0, 0.1))), random.uniform(0, 360)
    move = np.array(cv2.getRotationMatrix2D((middle, middle), turn, zoom), np.float64)  # (2, 3)
    move[:, 2] += (size - 1) / 2 - middle + random.uniform(-0.06, 0.06, 2) * image_size
    width, height = size.tolist()
    moved = cv2.warpAffine(canvas, move, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(moved, np.float32)


def _light(picture: Picture, random: Random) -> Picture:
    """The picture under random exposure, white balance and a gradient of light from one side."""
    across, down = pixel_coordinates(picture)
    (x, y), slope = random_direction(random), random.uniform(0, 0.14)
    light = 1 + slope * (across * x + down * y)  # (H, W)
    gains = np.exp(random.normal(0, 0.08) + random.normal(0, 0.045, 3)).astype(np.float32)
    lit: Picture = picture * light[..., None] * gains
    return lit


def confounder_rate(name: str, drawn_class: str, confounding: float) -> float:
    """Probability of a confounder on an image of a class; its mean over all images does not depend on `confounding`."""
    rates = CONFOUNDERS[name]
    mean = sum(rates[other] * count for other, count in CLASS_COUNTS.items()) / sum(CLASS_COUNTS.values())
    return (1 - confounding) * mean + confounding * rates[drawn_class]


def encode(picture: NDArray[np.uint8]) -> bytes:
    """JPEG at quality 95; the same picture gives the same bytes."""
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    return data.tobytes()
