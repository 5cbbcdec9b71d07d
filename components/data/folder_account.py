"""Every file below a data set's folder is accounted for: used, without a row, or not read, with the reason."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from components.data.file_tree import list_images
from components.data.read_report import ReadReport


def account_for_files(root: Path, used: pd.Series, report: ReadReport) -> None:
    """Count the files below a folder.

    Args:
        root: folder of the data set.
        used: paths of the rows, as for `sources.read_bytes`.
        report: gets the counts in `files`, and a warning for each kind of file that is not read.
    """
    images = set(list_images(root))
    report.files["images"] = len(images)
    report.files["images without a row"] = len(images - set(used))
