"""The stage pack: files and members of tars, and errors without paths."""

from __future__ import annotations

import tarfile
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.base.errors import DataError
from components.base.log import SilentLog
from components.data.labels import Labels
from components.data.pixels import read_pixels
from components.data.read_report import ReadReport
from components.data.records import USED_SPLITS, Packed, check, conform, write_records
from flows.pack import pack
from flows.settings.data import Pack as PackSettings

RNG = np.random.default_rng(0)


def arguments_of(root: Path, suffix: str) -> dict[str, Any]:
    """Four accepted images, one a split, and the arguments of the stage `pack`."""
    names = ["a", "b", "c", "d"]
    table = pd.DataFrame({"image_id": names, "source": "x", "path": [f"{suffix}{name}.png" for name in names]})
    write_records(conform(table, "a test", ReadReport()), root / "accepted.parquet")
    split = table[["image_id"]].assign(label=["nv", None, "nv", "nv"], group=names, split=USED_SPLITS)
    split.to_csv(root / "split.csv", index=False)
    paths = SimpleNamespace(accepted=root / "accepted.parquet", split=root / "split.csv", pixels=root / "pixels")
    return {
        "dataset": SimpleNamespace(path=root / "data"),
        "labels": Labels(scheme="s", schemes={"s": {"mel": ("mel",), "nv": ("nv",)}}),
        "pack": PackSettings(image_size=16, fit="crop"),
        "paths": paths,
        "compute": SimpleNamespace(threads=2),
        "log": SilentLog(),
    }


def picture() -> tuple[np.ndarray, bytes]:
    pixels = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return pixels, file.getvalue()


@pytest.mark.parametrize("suffix", ["", "folder/", "shards/000.tar/inner/"])
def test_files_and_members_of_tars_are_packed_equally(tmp_path: Path, suffix: str) -> None:
    arguments, pictures = arguments_of(tmp_path, suffix), {}
    file = tmp_path / "data" / (suffix.partition("/inner")[0] or ".")
    file.parent.mkdir(parents=True, exist_ok=True)
    for name in "abcd":
        pictures[name], data = picture()
        if ".tar" not in suffix:
            file.mkdir(exist_ok=True, parents=True)
            (file / f"{name}.png").write_bytes(data)
            continue
        with tarfile.open(file, "a") as tar:
            member = tarfile.TarInfo(f"inner/{name}.png")
            member.size = len(data)
            tar.addfile(member, BytesIO(data))
    metrics = pack.work(**arguments)
    for name, side in zip("abcd", USED_SPLITS, strict=True):
        pixels = read_pixels(tmp_path / "pixels" / side)
        assert check(pixels.index, Packed)["image_id"].tolist() == [name]
        np.testing.assert_array_equal(pixels.take(np.array([0]))[0], pictures[name])
    assert metrics["train"] == {"images": 1, "mel": 0, "nv": 1}
    assert metrics["unlabelled"] == {"images": 1}


@pytest.mark.parametrize("data, why", [(None, "missing"), (b"", r".+"), (b"\xff\xd8\xff\xe0", r".+")])
def test_what_cannot_be_packed_is_named_by_its_id_and_not_by_its_path(
    tmp_path: Path, data: bytes | None, why: str
) -> None:
    arguments = arguments_of(tmp_path, "Erika_Mustermann/")
    folder = tmp_path / "data" / "Erika_Mustermann"
    folder.mkdir(parents=True)
    for name in "abcd":
        (folder / f"{name}.png").write_bytes(picture()[1])
    (folder / "a.png").unlink()
    if data is not None:
        (folder / "a.png").write_bytes(data)
    with pytest.raises(DataError, match=rf"^image a: cannot be read \({why}\); .*run `dvc repro`$") as caught:
        pack.work(**arguments)
    assert "Mustermann" not in str(caught.value)
    assert not (tmp_path / "pixels" / "train").exists()
