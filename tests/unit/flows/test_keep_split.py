"""`dermflow data keep-split` in a repository under git and DVC: the split of a revision is written and named."""

from __future__ import annotations

import sys
from contextlib import chdir
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from components.base.errors import DataError, RunError
from components.base.files import file_sha256
from components.data.records import read_records, write_records
from components.data.splits import split_table
from flows.commands.cli import app
from flows.commands.keep_split import keep_split
from flows.settings import load_settings
from flows.stage_io.kept_split import FILE, read_kept
from tests.unit.data.accepted_rows import CLASSES, accepted_rows, rows_of_lesions
from tests.unit.flows.test_data_diff import command, commit_files

# DVC 3.67 asks pygtrie in a way that pygtrie will not found for ever
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

ACCEPTED, SPLIT = Path("data/accepted.parquet"), Path("data/split.csv")


def process(table: pd.DataFrame) -> pd.DataFrame:
    """Write the tables of `validate` and `split`, as far as the command reads them."""
    split = split_table(table, CLASSES, ["lesion_id"], {"train": 0.6, "val": 0.2, "test": 0.2}, 0)
    write_records(table.assign(path="a.jpg"), ACCEPTED)
    SPLIT.unlink(missing_ok=True)  # DVC's links are read-only
    split.to_csv(SPLIT, index=False)
    return split


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Path:
    """A checkout whose tag `v1` has a split; the workspace has further lesions, and a split that was drawn anew."""
    folder = tmp_path_factory.mktemp("versions")
    command(folder, "git", "init", "-q")
    command(folder, sys.executable, "-m", "dvc", "init", "-q")
    (folder / "params.yaml").write_text((repo / "params.yaml").read_text())
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / ".gitignore").write_text((repo / ".gitignore").read_text())
    with chdir(folder):
        commit_files(folder, "empty")
        process(rows_of_lesions({"bcc": 10, "mel": 20, "nv": 40}))
        command(folder, sys.executable, "-m", "dvc", "add", "-q", str(ACCEPTED), str(SPLIT))
        commit_files(folder, "v1")
        new = accepted_rows(image_id=["new0"], label=["mel"]).assign(lesion_id="new0", sha256="new0")
        process(pd.concat([rows_of_lesions({"bcc": 10, "mel": 20, "nv": 40}), new], ignore_index=True).astype("str"))
    return folder


def test_the_split_of_a_revision_is_kept_and_tracked(versions: Path) -> None:
    with chdir(versions):
        done = CliRunner().invoke(app, ["data", "keep-split", "v1"])
        assert done.exit_code == 0, done.output
        keep = load_settings().split.keep
        assert keep is not None and (keep.file, keep.sha256) == (FILE, file_sha256(FILE))
        table = read_kept(keep)
        assert "new0" not in set(table["image_id"]) and len(table) == 70
        with_new = read_records(ACCEPTED)
        assert set(with_new["image_id"]) - set(table["image_id"]) == {"new0"}
        assert "70 images in 70 lesions or patients: train 42, val 14, test 14" in done.output
        assert f"git add {FILE}.dvc params.yaml" in done.output
        assert f"?? {FILE}.dvc" in command(versions, "git", "status", "--porcelain", "--untracked-files=all")
        assert command(versions, sys.executable, "-m", "dvc", "status", f"{FILE}.dvc").strip().endswith("up to date.")


def test_by_default_the_present_split_is_kept_with_what_it_kept_itself(versions: Path) -> None:
    with chdir(versions):
        list(keep_split("v1"))
        present = read_records(ACCEPTED)
        process(present[present["image_id"] != "i0000"].drop(columns="path"))
        lines = list(keep_split(None))
        keep = load_settings().split.keep
        assert keep is not None
        assert {"new0", "i0000"} <= set(read_kept(keep)["image_id"])  # i0000 is gone and may come back
        assert lines[1].startswith("of workspace; params.yaml: split.keep={file: data/kept_split.csv, sha256: ")
        process(present.drop(columns="path"))


def test_where_dvc_refuses_the_file_is_still_the_one_of_the_settings(versions: Path) -> None:
    with chdir(versions):
        list(keep_split(None))
        files = (FILE, Path(f"{FILE}.dvc"), Path("params.yaml"))
        before = {file: file.read_bytes() for file in files}
        command(versions, "git", "add", "--force", str(FILE))
        try:
            with pytest.raises(
                RunError, match=r"DVC does not take it: .*tracked.*the file and split\.keep are as before"
            ):
                list(keep_split("v1"))
        finally:
            command(versions, "git", "rm", "--cached", "--quiet", str(FILE))
        assert {file: file.read_bytes() for file in files} == before
        keep = load_settings().split.keep
        assert keep is not None and len(read_kept(keep)) == 71  # v1 has 70


def test_a_revision_without_a_split_is_named(versions: Path) -> None:
    with chdir(versions):
        with pytest.raises(DataError, match=r"empty has no data/accepted.parquet; name a revision at which"):
            list(keep_split("empty"))
        with pytest.raises(RunError, match="v9: git knows no such revision"):
            list(keep_split("v9"))
