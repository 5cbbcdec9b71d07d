"""scan_vs_plain and scan_vs_decode: all facts about an image, compared with common code and with decoding alone.

`plain` runs what each library's documentation shows first, one after another: the sha256 of the bytes, a PIL load to
check the file, imagehash.phash of the opened file, and OpenCV's Laplacian in 64 bits of the file read as grey.
`scan_vs_plain_one_load` is faster code: one PIL image for all three. Both give three facts, the scan gives twelve.

The images are synthetic lesions of 600 x 450 pixels with sensor noise, as JPEGs of quality 95 without chroma
subsampling, about 250 kB each, as HAM10000's originals (2.7 GB for 10,015). With smaller files the scan's work besides
decoding has a larger share, since it depends on pixels: `scan_vs_decode_light` uses the synthetic images' own 77 kB.
Decoding alone is strict RGB by simplejpeg, the least that a loader for training does. All start from bytes.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import imagehash
import numpy as np
import simplejpeg
from PIL import Image

from benchmarks.measure import Result, ratios, summarise
from components.synthetic.dataset import draw_dataset
from components.validation.image_facts import read_facts

COUNT, NOISE, QUALITY = 48, 7.0, 95


def draw(folder: Path) -> list[bytes]:
    draw_dataset(
        folder, lesions=COUNT, unlabelled=0, image_size=450, images_per_lesion=1.0, confounding=0.5,
        difficulty=0.5, seed=0,
    )  # fmt: skip
    return [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))[:COUNT]]


def add_noise(data: bytes, seed: int) -> bytes:
    pixels = simplejpeg.decode_jpeg(data).astype(np.float32)
    noisy = pixels + np.random.default_rng(seed).normal(0, NOISE, pixels.shape)
    return bytes(simplejpeg.encode_jpeg(np.clip(noisy, 0, 255).astype(np.uint8), QUALITY, "RGB", "444"))


def plain(data: bytes) -> tuple[object, ...]:
    Image.open(io.BytesIO(data)).load()
    phash = imagehash.phash(Image.open(io.BytesIO(data)))
    grey = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    return hashlib.sha256(data).hexdigest(), phash, cv2.Laplacian(grey, cv2.CV_64F).var()


def plain_one_load(data: bytes) -> tuple[object, ...]:
    image = Image.open(io.BytesIO(data))
    grey = np.asarray(image.convert("L"))
    return hashlib.sha256(data).hexdigest(), imagehash.phash(image), cv2.Laplacian(grey, cv2.CV_64F).var()


def decode(data: bytes) -> object:
    return simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)


def decode_grey(data: bytes) -> object:
    return simplejpeg.decode_jpeg(data, colorspace="GRAY", strict=True)


def run() -> list[Result]:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as temporary:
        light = draw(Path(temporary) / "drawn")
    heavy = [add_noise(data, seed) for seed, data in enumerate(light)]
    results = []
    for name, theirs, files, goal in (
        ("scan_vs_plain", plain, heavy, "at least 6"),
        ("scan_vs_plain_light", plain, light, "none"),
        ("scan_vs_plain_one_load", plain_one_load, heavy, "none"),
        ("scan_vs_decode", decode, heavy, "at least 0.8"),
        ("scan_vs_decode_light", decode, light, "none"),
        ("scan_vs_decode_grey", decode_grey, heavy, "none"),
    ):
        results.append(summarise(name, race(theirs, files), goal, "x", "python -m benchmarks scan"))
    return results


def race(theirs: Callable[[bytes], object], files: list[bytes]) -> list[float]:
    """Time of `theirs` divided by ours over the same files, one ratio a round."""
    return ratios(lambda: [read_facts(data) for data in files], lambda: [theirs(data) for data in files])
