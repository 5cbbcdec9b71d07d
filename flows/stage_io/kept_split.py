"""The file of `split.keep`: the split of a former data version, which is verified by its sha256."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from components.base.errors import DataError
from components.base.files import file_sha256, whole
from components.data.kept_split import check_kept
from flows.settings.data import KeptSplit

FILE = Path("data/kept_split.csv")
"""Where `dermflow data keep-split` writes it; DVC tracks it."""


def write_kept(table: pd.DataFrame, path: Path) -> None:
    """Write a table of `kept_table`; equal tables give equal bytes."""
    with whole(path) as part:
        table.to_csv(part, index=False, lineterminator="\n")


def parse_kept(content: bytes, origin: str) -> pd.DataFrame:
    """The table in a file's bytes, every cell as text, an empty one missing.

    Raises:
        DataError: where it is no such table; `origin` names it.
    """
    try:
        table = pd.read_csv(io.BytesIO(content), dtype="str", keep_default_na=False, na_values=[""])
    except ValueError as error:
        raise DataError(f"{origin}: is no table ({error}); `dermflow data keep-split` writes one") from error
    return check_kept(table, origin)


def read_kept(keep: KeptSplit) -> pd.DataFrame:
    """The table that the setting names.

    Raises:
        DataError: where the file is missing, or is not the one of the setting's sha256.
    """
    if not keep.file.is_file():
        raise DataError(
            f"{keep.file} (split.keep, params.yaml) is missing: `dvc pull {keep.file}.dvc` brings it, "
            "`dermflow data keep-split REV` writes it anew"
        )
    if (found := file_sha256(keep.file)) != keep.sha256:
        raise DataError(
            f"{keep.file}: sha256 is {found}, expected {keep.sha256} (split.keep.sha256, params.yaml): `dvc checkout "
            f"{keep.file}.dvc` restores the file; after `dermflow data keep-split REV` params.yaml has its sha256"
        )
    return parse_kept(keep.file.read_bytes(), str(keep.file))


def kept_lines(counts: Mapping[str, Mapping[str, int]] | None) -> list[str]:
    """What a kept split did, in one line for a log or a report, and one more where groups had to move.

    Args:
        counts: the part `kept_split` of metrics/split.json; None without a kept split.
    """
    if counts is None:
        return []
    kept, new, missing, moved = (counts[name] for name in ("kept", "new", "missing", "moved"))
    lines = [
        f"kept split: {_listed(kept)} lesions or patients stayed, {_listed(new)} are new, {_listed(missing)} are gone"
    ]
    if any(moved.values()):
        ways = ", ".join(f"{count} from {way.replace('_to_', ' to ')}" for way, count in moved.items() if count)
        lines.append(
            f"kept split: {ways} moved, since they now share an id or an image with others that stood there; models "
            "that were trained on them are not tested on them"
        )
    return lines


def _listed(counts: Mapping[str, int]) -> str:
    return f"{sum(counts.values()):,} (" + ", ".join(f"{name} {count:,}" for name, count in counts.items()) + ")"
