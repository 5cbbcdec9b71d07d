"""Small data sets of every adapter, written from the EXAMPLE of its file."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from components.base.families import load_member
from components.data.adapters import Adapter, ExampleData
from components.data.sources import read_bytes

FAMILY = "data.adapters"


def example_of(name: str) -> ExampleData:
    example: ExampleData = load_member(FAMILY, name).EXAMPLE
    return example


def tables_of(name: str) -> dict[str, str]:
    """The example's CSV tables by path; its other texts are no tables."""
    return {path: text for path, text in example_of(name).texts.items() if path.lower().endswith(".csv")}


def write_example(name: str, root: Path, **settings: Any) -> Adapter:
    """The example of an adapter below `root`, and the adapter that reads it."""
    example = example_of(name)
    paint(root, *example.images)
    for path, text in example.texts.items():
        write(root, path, text)
    for path, arrays in example.arrays.items():
        np.savez_compressed(root / path, **arrays)
    places = count()  # each image is of another colour
    for path, members in example.packed.items():
        pack(root / path, {name: text.encode() or drawn(next(places)) for name, text in members.items()})
    for path, rows in example.rows.items():
        write_rows(root / path, rows, first=next(places))
        places = count(next(places) + len(rows))
    for path, attributes in example.dicom.items():
        write_dicom(root / path, drawn_pixels(next(places)), **attributes)
    return load_member(FAMILY, name).Config(path=root, **{**example.settings, **settings})


def paint(root: Path, *names: str) -> Path:
    """Small images, each of its own colour, in the format of its name."""
    root.mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), (20 * index, 40, 60)).save(root / name)
    return root


def write(root: Path, name: str, text: str) -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text, encoding="utf-8")
    return root


def read_pixels_of(root: Path, path: str) -> np.ndarray:
    """(H, W, 3) uint8 of one image of a data set."""
    with Image.open(io.BytesIO(read_bytes(root, path))) as image:
        return np.asarray(image.convert("RGB"))


def drawn_pixels(place: int) -> np.ndarray:
    """(7, 9, 3) uint8 of one colour, another one for each place."""
    return np.full((7, 9, 3), (20 * place + 5, 40, 60), np.uint8)


def drawn(place: int, form: str = "JPEG") -> bytes:
    """The encoded image of `drawn_pixels`."""
    stream = io.BytesIO()
    Image.fromarray(drawn_pixels(place)).save(stream, form)
    return stream.getvalue()


def pack(file: Path, members: Mapping[str, bytes]) -> Path:
    """A tar, or an HDF5 file of opaque values as ISIC 2024 publishes it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".tar":
        with tarfile.open(file, "w") as tar:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    else:
        with h5py.File(file, "w") as stored:
            for name, data in members.items():
                stored.create_dataset(name, data=np.void(data))
    return file


def write_rows(
    file: Path, rows: Sequence[Mapping[str, Any]], metadata: Mapping[str, str] | None = None, first: int = 0
) -> Path:
    """A parquet file, or an Arrow stream as `datasets` saves it; images without bytes are drawn."""
    file.parent.mkdir(parents=True, exist_ok=True)
    filled = [
        {
            name: {**value, "bytes": drawn(place)}
            if isinstance(value, dict) and value.get("bytes", 0) is None
            else value
            for name, value in row.items()
        }
        for place, row in enumerate(rows, first)
    ]
    table = pa.Table.from_pylist(filled).replace_schema_metadata(metadata)
    if file.suffix == ".parquet":
        pq.write_table(table, file, row_group_size=2)
    else:
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)
    return file


def write_dicom(file: Path, pixels: np.ndarray, **attributes: Any) -> Path:
    """A DICOM file of uncompressed pixels, (H, W) grey or (H, W, 3) RGB uint8."""
    file.parent.mkdir(parents=True, exist_ok=True)
    dataset = dicom_of(pixels)
    for keyword, value in attributes.items():
        setattr(dataset, keyword, [_item(each) for each in value] if isinstance(value, list) else value)
    dataset.save_as(file, enforce_file_format=True)
    return file


def dicom_of(pixels: np.ndarray) -> Dataset:
    """The data set of uncompressed pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.4"  # VL Photographic Image Storage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    dataset.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    data = pixels.tobytes()
    dataset.PixelData = data + bytes(len(data) % 2)
    return dataset


def _item(attributes: Any) -> Any:
    """An item of a sequence."""
    if not isinstance(attributes, dict):
        return attributes
    item = Dataset()
    for keyword, value in attributes.items():
        setattr(item, keyword, value)
    return item
