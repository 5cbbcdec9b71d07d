"""What a missing image is probably called on the disk: words for the quarantine, which stays with the data."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from components.data.path_column import is_absolute
from components.data.similar_files import SimilarFiles, common_starts
from components.data.source_error import SourceError

RULES = ("image.missing", "image.outside_folder")


def name_nearest(reasons: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Reasons whose value says which path was looked for, and which file that exists is most similar to it.

    Args:
        reasons: quarantine.COLUMNS.
        root: the data set's folder.
    """
    concerned = reasons["rule"].isin(RULES)
    if not concerned.any():
        return reasons
    paths = reasons.loc[concerned, "path"]
    try:
        similar = SimilarFiles.below(root)
    except SourceError:  # a damaged tar: the other stages name it
        return reasons
    nearest = {path: similar.nearest(path) for path in paths.unique()}
    starts = common_starts(
        (path, file.path) for path, file in nearest.items() if file is not None and is_absolute(path)
    )
    setting = f"; dataset.replace_start: {json.dumps(starts, ensure_ascii=False)}" if 0 < len(starts) <= 5 else ""
    words = {
        path: f"looked for {path or 'nothing, as the row names no file'}; "
        + (f"nearest that exists: {file}" if file else "no file that exists is similar")
        + (setting if is_absolute(path) else "")
        for path, file in nearest.items()
    }
    named = reasons.loc[concerned, "value"] + ": " + paths.map(words)
    return reasons.assign(value=reasons["value"].mask(concerned, named))
