"""Stage pack: decodes and resizes every image once; training then reads arrays."""

from __future__ import annotations

from typing import Any

import pandas as pd

from components.base.errors import DataError
from components.base.log import Log
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.pixels import read_pixels, write_pixels
from components.data.records import USED_SPLITS, Packed, check, read_records
from components.training.settings import Compute
from flows.settings.data import Pack as PackSettings
from flows.settings.study import Paths
from flows.stage import stage
from flows.stage_io.images import load_images
from flows.stage_io.split_table import read_split


@stage
def pack(
    dataset: Adapter, labels: Labels, pack: PackSettings, paths: Paths, compute: Compute, log: Log
) -> dict[str, Any]:
    """Write one folder a split, images in the order of their ids; the metrics are images a class of each."""
    table = _join(paths)
    metrics: dict[str, Any] = {"image_size": pack.image_size}
    for name in USED_SPLITS:
        rows = table[table["split"] == name]
        shown = log.track(load_images(dataset.path, rows, pack, compute.threads), len(rows), f"{name} images packed")
        write_pixels(paths.pixels / name, shown, rows, pack.image_size)
        check(read_pixels(paths.pixels / name).index, Packed)
        counts = {label: int((rows["label"] == label).sum()) for label in labels.classes}
        metrics[name] = {"images": len(rows), **(counts if name != "unlabelled" else {})}
    return metrics


def _join(paths: Paths) -> pd.DataFrame:
    """The split with the path and lesion of each image, sorted by image_id."""
    split = read_split(paths.split)
    accepted = read_records(paths.accepted)[["image_id", "path", "lesion_id"]]
    if set(split["image_id"]) != set(accepted["image_id"]):
        raise DataError(f"{paths.split} and {paths.accepted} have different images; run `dvc repro -f split`")
    return split.merge(accepted, on="image_id").sort_values("image_id", kind="stable", ignore_index=True)


if __name__ == "__main__":
    pack.main()
