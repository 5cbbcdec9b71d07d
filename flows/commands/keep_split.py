"""`dermflow data keep-split`: the split of a data version becomes the one that later versions keep.

The table goes into DVC, and params.yaml names it by its sha256. So the stage `split` depends on nothing but its inputs
and settings, and needs neither git nor the former version.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from components.base.errors import RunError
from components.base.files import file_sha256, write_text
from components.data.kept_split import kept_table
from flows.commands.data_diff import WORKSPACE, DatasetVersion, open_version
from flows.commands.restored import restored
from flows.orchestration.freshness import read_stages
from flows.orchestration.processes import only_run, venv_path
from flows.presets import edit
from flows.settings import PARAMS
from flows.stage_io.kept_split import FILE, parse_kept, write_kept


def keep_split(rev: str | None) -> Iterator[str]:
    """Write the table, give it to DVC, set split.keep; yields lines for the user.

    Args:
        rev: git revision; None for the files of the workspace.

    Raises:
        RunError: where the revision is unknown, or DVC cannot take the file; file and settings are then as before.
        DataError: where the revision has no split, or DVC has lost it.
    """
    with open_version(rev) as version:
        table = kept_table(version.read_table("accepted"), _split_of(version), _kept_of(version))
    written = (FILE, FILE.with_name(f"{FILE.name}.dvc"), PARAMS)
    with only_run(entry.name for entry in read_stages(Path.cwd())), restored(*written):
        write_kept(table, FILE)
        _add(FILE)
        keep = f"{{file: {FILE}, sha256: {file_sha256(FILE)}}}"
        write_text(PARAMS, edit(PARAMS.read_text("utf-8"), f"split.keep={keep}"))
    counts = table.drop_duplicates("group")["home"].value_counts()
    homes = ", ".join(f"{name} {counts.get(name, 0):,}" for name in ("train", "val", "test"))
    yield f"{FILE}: {len(table):,} images in {len(table['group'].unique()):,} lesions or patients: {homes}"
    yield f"of {rev or WORKSPACE}; params.yaml: split.keep={keep}"
    yield f"commit both: git add {FILE}.dvc {PARAMS} && git commit; `dvc push` for other checkouts"
    yield f"`dermflow use` writes params.yaml anew: repeat 'split.keep={keep}' there, or put it into the preset"


def _split_of(version: DatasetVersion) -> pd.DataFrame:
    content = version.read(version.path_of("paths", "split"))
    return pd.read_csv(io.BytesIO(content), dtype="str", keep_default_na=False, na_values=[""])


def _kept_of(version: DatasetVersion) -> pd.DataFrame | None:
    """The table that the version kept itself; None where it kept none."""
    keep = (version.params.get("split") or {}).get("keep")
    if not isinstance(keep, Mapping):
        return None
    file = str(keep.get("file"))
    return parse_kept(version.read(file), f"{version.name}: {file}")


def _add(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "--wait-for-lock", "add", str(file)],
        env={**os.environ, "PATH": venv_path()}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        reason = " ".join(done.stderr.split())[-1000:]
        raise RunError(f"{file}: DVC does not take it: {reason}; the file and split.keep are as before")
