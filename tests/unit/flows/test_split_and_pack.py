"""From accepted rows to packed splits: every image is where it belongs, and no group crosses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from components.base.errors import DataError, LeakError
from components.data.pixels import read_pixels, square
from components.data.records import read_records
from components.validation.image_facts import decode
from tests.unit.flows.small_dataset import SPLIT, SmallDataset


def test_split_and_pack_hold_every_image_where_it_belongs(small_dataset: SmallDataset) -> None:
    for n in range(3):
        small_dataset.image(f"bare{n}", None)
    small_dataset.validate()
    counts = small_dataset.split()
    metrics = small_dataset.pack()
    table = pd.read_csv(small_dataset.paths.split, index_col="image_id", dtype="str")
    paths = read_records(small_dataset.paths.accepted).set_index("image_id")["path"]
    for name in ("train", "unlabelled", "val", "test"):
        pixels = read_pixels(small_dataset.paths.pixels / name)
        assert pixels.index["image_id"].tolist() == sorted(table.index[table["split"] == name])
        for row, image_id in enumerate(pixels.index["image_id"]):
            expected = square(decode((small_dataset.root / paths[image_id]).read_bytes())[1], 16, "crop")
            np.testing.assert_array_equal(pixels.take(np.array([row]))[0], expected)
        assert metrics[name]["images"] == counts["images"][name] == len(pixels)
    assert len(read_pixels(small_dataset.paths.pixels / "unlabelled")) == 3


def test_split_stops_for_a_patient_who_crosses(small_dataset: SmallDataset) -> None:
    for row in small_dataset.rows:
        row["patient_id"] = f"p{int(str(row['image_id'])[-1]) % 5}"
    small_dataset.validate()
    with pytest.raises(LeakError, match=r"patient p0 is in .*split\.group_by lacks patient_id \(params\.yaml\)"):
        small_dataset.split(SPLIT.model_copy(update={"group_by": ("lesion_id",)}))
    assert not small_dataset.paths.split.exists()
    assert small_dataset.split()["groups"]


def test_pack_refuses_a_split_of_other_images(small_dataset: SmallDataset) -> None:
    small_dataset.validate()
    small_dataset.split()
    lines = small_dataset.paths.split.read_text().splitlines(keepends=True)
    small_dataset.paths.split.write_text("".join(lines[:-1]))
    with pytest.raises(DataError, match="have different images; run `dvc repro -f split`"):
        small_dataset.pack()
    small_dataset.paths.split.unlink()
    with pytest.raises(DataError, match="split is missing, expected the table of split; run `dvc repro split`"):
        small_dataset.pack()


def test_pack_names_an_image_that_broke_since(small_dataset: SmallDataset) -> None:
    small_dataset.validate()
    small_dataset.split()
    (small_dataset.root / "nv3.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"image nv3: cannot be read \(0 bytes\)"):
        small_dataset.pack()
