"""The table that `split` wrote: which image is in which part."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from flows.stage_io.files import existing


def read_split(path: Path) -> pd.DataFrame:
    """Columns image_id, label, group, split and, with folds, fold; every cell is text, an empty one is missing.

    A class may be named `null` or `NA`: only an empty cell stands for nothing.

    Raises:
        DataError: where there is no file.
    """
    table = existing(path, "the table of split; run `dvc repro split`")
    return pd.read_csv(table, dtype="str", keep_default_na=False, na_values=[""])
