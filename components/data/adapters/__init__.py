"""Adapters: one layout of images and labels a file; each reads a folder into the common table.

An adapter's file defines `Config(Frozen)`, which follows `Adapter`, and `EXAMPLE`, a small data set in its layout: it
shows the layout, and the contract tests read it. They cover a new file without a change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd

from components.base.licence import Licence
from components.data.read_report import ReadReport


class Adapter(Protocol):
    """What the stage ingest needs of a data set."""

    kind: str
    path: Path
    """Folder of the data set."""
    published: ClassVar[bool]
    """True where the data set, with its ids of patients and lesions, is public."""
    licence: ClassVar[Licence]

    def read(self, report: ReadReport) -> pd.DataFrame:
        """One row an image in the columns of `components.data.records.Raw`.

        Args:
            report: gets the tables, joins and files that were read, and warnings.

        Raises:
            DataError: where files are missing or of another layout; it names the file and the fix.
        """


@dataclass(frozen=True)
class ExampleData:
    """A data set of a few images in an adapter's layout."""

    texts: Mapping[str, str] = field(default_factory=dict)
    """Path below the data set's folder to the text of the file."""
    images: tuple[str, ...] = ()
    """Paths of images; the code that writes the example draws them."""
    arrays: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    """Path of an .npz to its arrays by name."""
    packed: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Path of a .tar or .hdf5 to its members, and the text of each; empty: an image, which is drawn."""
    rows: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Path of a .parquet or .arrow to its rows; `{"bytes": None, ...}` gets the bytes of an image."""
    dicom: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Path of a DICOM file to its attributes by keyword; its pixels are drawn."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of the adapter, besides `kind` and `path`."""


OWN_IMAGES = Licence(
    name="images of one's own",
    licence=None,
    commercial=None,
    citation="none",
    home="dataset.path",
    note="Their owner states it in cards.data_licence.",
)
"""For adapters that read any data set."""
