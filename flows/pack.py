"""Decode and resize every image once; training then reads plain arrays."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from components.base.errors import DataError
from components.base.log import Log
from components.data.adapters import Adapter
from components.data.pixels import Array, read_pixels, square, write_pixels
from components.data.records import Packed, check, read_records
from components.data.sources import SourceError, read_bytes
from components.validation.scan import UndecodableError, decode
from flows.settings import Compute, Labels, Paths
from flows.settings import Pack as PackSettings
from flows.stage import stage

SPLITS = ("train", "unlabelled", "val", "test")  # withheld images are packed nowhere
AHEAD = 256  # images decoded before they are written: bounds memory


@stage
def pack(
    dataset: Adapter, labels: Labels, pack: PackSettings, paths: Paths, compute: Compute, log: Log
) -> dict[str, Any]:
    """Write one folder a split, images in the order of their ids; returns images a class of each."""
    table = _join(paths)
    metrics: dict[str, Any] = {"image_size": pack.image_size}
    for name in SPLITS:
        rows = table[table["split"] == name]
        shown = log.track(load_images(dataset.path, rows, pack, compute.threads), len(rows), f"{name} images packed")
        write_pixels(paths.pixels / name, shown, rows, pack.image_size)
        check(read_pixels(paths.pixels / name).index, Packed)
        counts = {label: int((rows["label"] == label).sum()) for label in labels.classes}
        metrics[name] = {"images": len(rows), **(counts if name != "unlabelled" else {})}
    return metrics


def _join(paths: Paths) -> pd.DataFrame:
    """The split with each image's path and lesion, sorted by image_id."""
    if not paths.split.is_file():
        raise DataError(f"{paths.split}: no such table; run `dvc repro split`")
    split = pd.read_csv(paths.split, dtype="str", keep_default_na=False, na_values=[""])
    accepted = read_records(paths.accepted)[["image_id", "path", "lesion_id"]]
    if set(split["image_id"]) != set(accepted["image_id"]):
        raise DataError(f"{paths.split} and {paths.accepted} name different images; run `dvc repro -f split`")
    return split.merge(accepted, on="image_id").sort_values("image_id", kind="stable", ignore_index=True)


def load_images(folder: Path, rows: pd.DataFrame, pack: PackSettings, threads: int) -> Iterator[Array]:
    """Square images (S, S, 3) of `rows` (image_id, path) below `folder`, in their order."""
    square_up = partial(_load, folder, pack.image_size, pack.fit)
    return _load_all(square_up, rows["image_id"].tolist(), rows["path"].tolist(), threads)


def _load(folder: Path, size: int, fit: Literal["crop", "pad"], image_id: str, path: str) -> Array:
    """One square image, (S, S, 3); an error names the image's id alone, since a path can name a person."""
    try:
        return square(decode(read_bytes(folder, path))[1], size, fit)
    except (SourceError, UndecodableError) as error:
        why = error.problem if isinstance(error, SourceError) else error
        raise DataError(
            f"image {image_id}: cannot be read ({why}); it changed since `validate`: run `dvc repro`"
        ) from None


def _load_all(load: partial[Array], names: list[str], files: list[str], threads: int) -> Iterator[Array]:
    """Images in the order of `names`; decoders let go of the interpreter's lock, so threads suffice."""
    with ThreadPoolExecutor(threads) as executor:
        for start in range(0, len(names), AHEAD):
            batch = slice(start, start + AHEAD)
            yield from executor.map(load, names[batch], files[batch])


if __name__ == "__main__":
    pack.main()
