"""Adapters: one layout of images and labels a file; each reads a folder into the common table.

An adapter's `Config` has `kind`, `path` (the data set's folder), `published` and `read`.
"""

from pathlib import Path
from typing import ClassVar, Protocol

import pandas as pd


class Adapter(Protocol):
    """What ingest needs of a data set."""

    kind: str
    path: Path
    published: ClassVar[bool]  # whether anybody may know its ids of patients and lesions

    def read(self) -> pd.DataFrame:
        """One row an image in the columns of `components.data.records.Raw`; errors name the file and the mend."""
