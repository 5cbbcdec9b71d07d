"""A small data set of sound images on disk, on which the data stages are run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from components.base.config import Frozen
from components.base.log import SilentLog
from components.data.folder_account import account_for_files
from components.data.ids import ALL_IDS
from components.data.labels import Labels
from components.data.privacy import pseudonymise
from components.data.read_report import ReadReport
from components.data.records import apply_labels, conform, read_records, write_records
from components.training.settings import Compute
from components.validation.settings import Scan, Validate
from flows.pack import pack
from flows.settings.data import Pack, Privacy, Split
from flows.settings.study import Paths
from flows.split import split
from flows.stage_io.datasets import write_report
from flows.validate import validate

LABELS = Labels(scheme="two", schemes={"two": {"mel": ("mel",), "nv": ("nv", "naevus")}})
SPLIT = Split(group_by=("patient_id", "lesion_id"), train=0.6, val=0.2, test=0.2, seed=0)
PACK = Pack(image_size=16, fit="crop")
COMPUTE = Compute(device="cpu", threads=2, precision="auto", compile=False)


def limits(**changes: object) -> Validate:
    plain = {"max_quarantined_share": 0.5, "min_side": 16, "min_groups_per_class": 3, "max_missing_share": None}
    plain |= {"admit": (), "near_duplicates": {"distance": 7, "crops": True}, "reference": None, "limits": {}}
    return Validate.model_validate(plain | {} | changes)


class Folder(Frozen):
    """A data set whose records were read before."""

    kind: str = "folder"
    path: Path

    def read(self, report: ReadReport) -> pd.DataFrame:
        """The records beside the folder, see `small_dataset`."""
        return read_records(place(self.path.parent / "made").records)


def draw_picture(seed: int) -> Image.Image:
    rng = np.random.default_rng(seed)
    layers = [Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)).resize((120, 96)) for n in (4, 12, 40)]
    return Image.blend(Image.blend(layers[0], layers[1], 0.5), layers[2], 0.3)


@dataclass
class SmallDataset:
    """A data set of sound images on disk, and a place for what stages make."""

    root: Path
    paths: Paths
    rows: list[dict[str, object]] = field(default_factory=list)
    log: SilentLog = field(default_factory=SilentLog)
    labels: Labels = LABELS

    def image(self, name: str, diagnosis: str | None, seed: int | None = None, side: int = 24, **more: object) -> Path:
        """Draw an image, give it a row, and return its path."""
        rng = np.random.default_rng(len(self.rows) if seed is None else seed)
        file = self.root / f"{name}.png"
        Image.fromarray(rng.integers(0, 256, (side, side + 8, 3), dtype=np.uint8)).save(file)
        self.row(name, f"{name}.png", diagnosis, **more)
        return file

    def picture(self, name: str, diagnosis: str, seed: int, **more: object) -> Path:
        """A picture with coarse and fine structure, unlike noise: its copies can be known again."""
        file = self.root / f"{name}.png"
        draw_picture(seed).save(file)
        self.row(name, f"{name}.png", diagnosis, **more)
        return file

    def row(self, name: str, path: str, diagnosis: str | None, **more: object) -> None:
        self.rows.append({"image_id": name, "path": path, "diagnosis": diagnosis, "source": "SYNTHETIC"} | more)

    def validate(self, workers: int = 1, key: bytes | None = None, **changes: object) -> dict[str, object]:
        """The stage; with a key, the data set is private."""
        report, privacy = ReadReport(), Privacy(key="secret" if key else "public")
        table = apply_labels(conform(pd.DataFrame(self.rows), "test", report), self.labels.mapping)
        if key:
            table = pseudonymise(table, ALL_IDS, key)
        write_records(table, self.paths.records)
        account_for_files(self.root, table["path"], report)
        write_report(report, self.paths.read_report, privacy, SilentLog())
        return dict(
            validate.work(
                dataset=Folder(path=self.root), labels=self.labels, privacy=privacy, split=SPLIT,
                validate=limits(**changes), scan=Scan(workers=workers, cluster=None), paths=self.paths, log=self.log,
            )
        )  # fmt: skip

    def split(self, settings: Split = SPLIT) -> dict[str, object]:
        return dict(split.work(split=settings, labels=self.labels, paths=self.paths, log=self.log))

    def pack(self) -> dict[str, object]:
        return dict(
            pack.work(
                dataset=Folder(path=self.root), labels=self.labels, pack=PACK, paths=self.paths, compute=COMPUTE,
                log=self.log,
            )
        )  # fmt: skip

    def quarantine(self) -> pd.DataFrame:
        return pd.read_csv(self.paths.quarantine, dtype="str", keep_default_na=False)


def place(root: Path) -> Paths:
    names = {name: root / name for name in Paths.model_fields}
    files = {name: root / f"{name}.parquet" for name in ("records", "facts", "accepted")}
    return Paths.model_construct(**names | files)


@pytest.fixture
def small_dataset(tmp_path: Path) -> SmallDataset:
    """Ten images of each class, all sound."""
    (tmp_path / "images").mkdir()
    made = SmallDataset(tmp_path / "images", place(tmp_path / "made"))
    for n in range(10):
        made.image(f"mel{n}", "mel")
        made.image(f"nv{n}", "nv" if n % 2 else "naevus")
    return made
