"""`dermflow data diff` on a real repository under git and DVC: two versions of a small data set, read back."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer.testing import CliRunner

from components.base.errors import DataError, RunError
from components.data.adapters.folder import Config
from components.data.read_report import ReadReport
from components.data.records import apply_labels, write_records
from components.validation.scan import scan
from flows.commands.cli import app
from flows.commands.data_diff import diff

# DVC 3.67 asks pygtrie in a way that pygtrie will not found for ever
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

DATA = Path("data/raw/clinic")
TABLES = {"records": "data/records.parquet", "facts": "data/facts.parquet", "accepted": "data/accepted.parquet"}
PARAMS = "dataset: {path: data/raw/clinic}\nlabels: {scheme: a}\npaths: {" + ", ".join(
    f"{name}: {path}" for name, path in TABLES.items()
) + "}\n"  # fmt: skip


def command(folder: Path, *words: str) -> str:
    """Run a tool in the repository; git has no user."""
    given = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(words, cwd=folder, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def paint(path: Path, seed: int, dark: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rough = np.random.default_rng(seed).integers(0, 8 if dark else 256, (4, 5, 3), dtype=np.uint8)
    path.unlink(missing_ok=True)  # DVC's links are read-only
    Image.fromarray(rough).resize((80, 64)).save(path)


def process(folder: Path) -> None:
    """What ingest and validate do, as far as the comparison reads it."""
    with chdir(folder):
        records = apply_labels(Config(path=DATA).read(ReadReport()), {word: word for word in ("mel", "nv", "bcc")})
        facts = scan(DATA, list(records["path"]), None, lambda items, total, what: items).facts
        ids = records[["image_id", "path"]].merge(facts, on="path")
        sound = records[records["path"].isin(facts.loc[facts["problem"].isna(), "path"])]
        for table, name in ((records, "records"), (ids, "facts"), (sound, "accepted")):
            write_records(table, Path(TABLES[name]))


def commit(folder: Path, tag: str) -> None:
    command(folder, sys.executable, "-m", "dvc", "add", "-q", str(DATA), *TABLES.values())
    commit_files(folder, tag)


def commit_files(folder: Path, tag: str) -> None:
    command(folder, "git", "add", "-A")
    command(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", tag)
    command(folder, "git", "tag", tag)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tag `empty` has no tables, `v1` eight images; the workspace has moved, replaced, added and removed some."""
    folder = tmp_path_factory.mktemp("checkout")
    command(folder, "git", "init", "-q")
    command(folder, sys.executable, "-m", "dvc", "init", "-q")
    (folder / "params.yaml").write_text(PARAMS)
    command(folder, "git", "add", "-A")
    command(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "empty")
    command(folder, "git", "tag", "empty")
    for place in range(8):
        paint(folder / DATA / ("mel" if place < 3 else "nv") / f"{place}.png", place)
    process(folder)
    commit(folder, "v1")
    data = folder / DATA
    (data / "nv" / "3.png").rename(data / "mel" / "3.png")  # relabelled, which in a folder is also renamed
    paint(data / "nv" / "4.png", 40)  # replaced
    (data / "nv" / "5.png").unlink()  # removed
    paint(data / "bcc" / "9.png", 9, dark=True)  # added, and unlike all before
    process(folder)
    return folder


@pytest.fixture
def copied(checkout: Path, tmp_path: Path) -> Path:
    """A copy of the repository to spoil."""
    return Path(shutil.copytree(checkout, tmp_path / "copy", symlinks=True))


def test_each_change_since_the_revision_is_found(checkout: Path) -> None:
    with chdir(checkout):
        found = diff("v1")
    changes = found.changes
    assert changes.relabelled["image_id_after"].tolist() == ["mel/3.png"]
    assert changes.replaced["image_id_after"].tolist() == ["nv/4.png"]
    assert changes.removed["image_id"].tolist() == ["nv/5.png"]
    assert changes.added["image_id"].tolist() == ["bcc/9.png"]
    assert found.notes == []
    before = changes.classes["before"].to_dict()
    assert (before, changes.classes["after"].to_dict()) == (
        {"bcc": 0, "mel": 3, "nv": 5},
        {"bcc": 1, "mel": 4, "nv": 3},
    )


def test_pictures_are_those_of_each_version(checkout: Path) -> None:
    with chdir(checkout):
        cards = {image.name: image for image in diff("v1").images}
    assert {name: card.kind for name, card in cards.items()} == {
        "mel/3.png": "relabelled", "nv/4.png": "replaced", "bcc/9.png": "new and unusual", "nv/5.png": "removed",
    }  # fmt: skip
    shown = {name: (card.before is not None, card.after is not None) for name, card in cards.items()}
    assert shown["mel/3.png"] == (False, True)  # the same picture, once
    assert shown["nv/4.png"] == (True, True)
    assert shown["nv/5.png"] == (True, False)
    assert cards["nv/4.png"].before != cards["nv/4.png"].after
    assert all(picture.problem is None for card in cards.values() for picture in (card.before, card.after) if picture)
    assert cards["mel/3.png"].former_name == "nv/3.png"


def test_the_command_prints_a_table_and_writes_a_page(checkout: Path) -> None:
    with chdir(checkout):
        done = CliRunner().invoke(app, ["data", "diff", "v1", "--page", "out/page.html"])
        page = Path("out/page.html").read_text("utf-8")
        shutil.rmtree("out")
    assert done.exit_code == 0, done.output
    assert "images    8 -> 8: 1 added, 1 removed, 1 relabelled, 1 replaced, 1 renamed" in done.output
    assert re.search(r"bcc +0 +1 +0\.0 % +12\.5 % +\+12\.5", done.output)
    assert "Page with images: out/page.html" in done.output
    assert max(map(len, done.output.splitlines())) <= 100
    assert page.count("data:image/webp") == 1 + 2 + 1 + 1
    assert "What has changed from v1 to workspace" in page
    assert not re.search(r"https?:|<script|/tmp/", page)


def test_a_version_against_itself_says_that_nothing_changed(copied: Path) -> None:
    commit(copied, "v2")
    with chdir(copied):
        found = diff("v2")
        found.write(Path("page.html"))
        assert found.changes.empty
        assert "No image has changed from v2 to workspace" in Path("page.html").read_text("utf-8")


def test_an_unknown_revision_is_named(checkout: Path) -> None:
    with chdir(checkout), pytest.raises(RunError, match="v9: git knows no such revision; expected a commit, tag"):
        diff("v9")


def test_the_command_tells_an_error_without_a_traceback(checkout: Path) -> None:
    with chdir(checkout):
        done = CliRunner().invoke(app, ["data", "diff", "v9"])
    assert done.exit_code == 1
    assert "dermflow: v9: git knows no such revision" in done.output
    assert "Traceback" not in done.output


def test_a_revision_before_the_pipeline_ran_is_named(checkout: Path) -> None:
    with (
        chdir(checkout),
        pytest.raises(DataError, match=r"empty has no data/records.parquet; name a revision at which"),
    ):
        diff("empty")


@pytest.mark.parametrize("lock", [None, "schema: '2.0'\nstages: {}\n"])
def test_a_revision_without_an_entry_in_dvc_lock_is_named(copied: Path, lock: str | None) -> None:
    for path in TABLES.values():
        (copied / f"{path}.dvc").unlink()
    stage = f"stages:\n  ingest:\n    cmd: python -m flows.ingest\n    outs: [{', '.join(TABLES.values())}]\n"
    (copied / "dvc.yaml").write_text(stage)
    if lock is not None:
        (copied / "dvc.lock").write_text(lock)
    commit_files(copied, "planned")
    message = r"planned: its dvc.lock records no version of data/records.parquet; name a revision at which the pipeline"
    with chdir(copied), pytest.raises(DataError, match=message):
        diff("planned")


@pytest.mark.parametrize("name", ["dvc.lock", "dvc.yaml"])
def test_a_revision_that_dvc_cannot_read_is_named_with_the_file(copied: Path, name: str) -> None:
    (copied / "dvc.yaml").write_text("stages: {a: {cmd: 'true'}}\n")
    (copied / name).write_text("stages: [\n")
    commit_files(copied, "broken")
    (copied / name).unlink()
    with chdir(copied), pytest.raises(RunError, match=rf"broken: DVC cannot read this version.*'{name}'"):
        diff("broken")


def test_a_commit_that_a_shallow_clone_lacks_is_told_from_an_unknown_one(copied: Path, tmp_path: Path) -> None:
    commit(copied, "v2")
    clone = tmp_path / "clone"
    command(tmp_path, "git", "clone", "-q", "--depth", "1", f"file://{copied}", str(clone))
    with chdir(clone), pytest.raises(RunError, match=r"v1: git knows no such revision.*git fetch --unshallow --tags"):
        diff("v1")
    with chdir(clone), pytest.raises(DataError, match=r"HEAD: DVC knows .* not in the cache, and .* has no remote"):
        diff("HEAD")


@pytest.mark.parametrize("rev", ["v1:params.yaml", "--help", "", "HEAD~99"])
def test_what_is_no_commit_is_no_revision(checkout: Path, rev: str) -> None:
    with chdir(checkout), pytest.raises(RunError, match=r"git knows no such revision"):
        diff(rev)


def test_a_remote_that_was_added_after_the_revision_is_read(copied: Path, tmp_path: Path) -> None:
    command(copied, sys.executable, "-m", "dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    command(copied, sys.executable, "-m", "dvc", "push", "-q")  # what the files of v1 name
    commit(copied, "v2")
    shutil.rmtree(copied / ".dvc" / "cache")
    with chdir(copied):
        assert len(diff("v1").changes.removed) == 1
    shutil.rmtree(copied / ".dvc" / "cache", ignore_errors=True)
    shutil.rmtree(tmp_path / "store")
    with chdir(copied), pytest.raises(DataError, match=r"v1: DVC knows .*, and no remote gave it \(store\): see why"):
        diff("v1")


def test_a_workspace_without_tables_says_what_makes_them(copied: Path) -> None:
    (copied / TABLES["facts"]).unlink()
    (copied / f"{TABLES['facts']}.dvc").unlink()
    with (
        chdir(copied),
        pytest.raises(DataError, match=r"workspace has no data/facts.parquet; create it with `dermflow run`"),
    ):
        diff("v1")


def test_a_table_that_the_cache_has_lost_says_what_fetches_it(copied: Path) -> None:
    shutil.rmtree(copied / ".dvc" / "cache")
    with (
        chdir(copied),
        pytest.raises(DataError, match=r"v1: DVC knows data/records.parquet, but its content .* `dvc fetch"),
    ):
        diff("v1")


def test_a_lost_former_picture_is_left_out_and_said(copied: Path) -> None:
    tables = {line.split()[-1] for path in TABLES.values() for line in
              command(copied, "git", "show", f"v1:{path}.dvc").splitlines() if "md5: " in line}  # fmt: skip
    hashes = {f"{word[:2]}/{word[2:]}" for word in tables}
    for file in (copied / ".dvc" / "cache" / "files" / "md5").glob("*/*"):
        if "/".join(file.parts[-2:]) not in hashes and not file.name.endswith(".dir"):
            file.unlink()
    with chdir(copied):
        found = diff("v1")
        found.write(Path("page.html"))
        page = Path("page.html").read_text("utf-8")
    cards = {image.name: image for image in found.images}
    assert cards["nv/4.png"].before is None and cards["nv/4.png"].after is not None
    assert cards["nv/5.png"].before is None and cards["nv/5.png"].after is None
    assert any("Former images are missing" in note for note in found.notes)
    assert "the former image is not available" in page


def test_a_data_set_outside_dvc_is_compared_by_its_tables(copied: Path) -> None:
    command(copied, "git", "rm", "-q", "--cached", f"{DATA}.dvc")
    (copied / f"{DATA}.dvc").unlink()
    (copied / DATA.parent / ".gitignore").write_text(f"/{DATA.name}\n")
    command(copied, "git", "add", "-A")
    command(copied, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "without")
    paint(copied / DATA / "nv" / "6.png", 60)
    process(copied)
    with chdir(copied):
        found = diff("HEAD")  # its tables are those of v1
    cards = {image.name: image for image in found.images}
    assert cards["nv/6.png"].kind == "replaced"
    assert cards["nv/6.png"].before is None and cards["nv/6.png"].after is not None
    assert any("Former images are missing" in note for note in found.notes)


def test_a_bytewise_other_file_is_no_former_picture(checkout: Path) -> None:
    """The tables say what the picture was; a file that DVC keeps under its name but with other bytes is not it."""
    from flows.commands.data_diff import open_version

    with chdir(checkout), open_version("v1") as version:
        rows = version.table.set_index("image_id")
        right = rows.loc["nv/4.png", "sha256"]
        assert version.image("nv/4.png", right) is not None
        assert version.image("nv/4.png", "0" * 64) is None
        assert version.image("nv/none.png", None) is None


def test_images_inside_a_shard_are_found_at_the_revision(copied: Path) -> None:
    import tarfile

    from flows.commands.data_diff import open_version

    with tarfile.open(copied / DATA / "nv" / "000.tar", "w") as shard:
        shard.add(copied / DATA / "mel" / "0.png", "inner/0.png")
    data = (copied / DATA / "mel" / "0.png").read_bytes()
    command(copied, sys.executable, "-m", "dvc", "add", "-q", str(DATA))
    command(copied, "git", "add", "-A")
    command(copied, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "shard")
    (copied / DATA / "nv" / "000.tar").unlink()
    with chdir(copied), open_version("HEAD") as version:
        assert version.image("nv/000.tar/inner/0.png", None) == data


def test_older_tables_with_fewer_columns_are_compared_and_it_is_said(copied: Path) -> None:
    facts = pd.read_parquet(copied / TABLES["facts"])
    file = copied / TABLES["facts"]
    current = file.read_bytes()
    file.unlink()
    facts.drop(columns=["saturation", "vignette", "phash"], errors="ignore").to_parquet(file)
    commit(copied, "older")
    file.unlink()
    file.write_bytes(current)
    with chdir(copied):
        found = diff("older")
        found.write(Path("page.html"))
    assert found.changes.empty
    assert found.changes.unknown == ("saturation", "vignette")
    assert any("saturation, vignette" in note for note in found.notes)


def test_another_label_map_is_said(copied: Path) -> None:
    (copied / "params.yaml").write_text(PARAMS.replace("scheme: a", "scheme: b"))
    with chdir(copied):
        assert any("labels (params.yaml) differ too" in note for note in diff("v1").notes)


def test_tables_that_are_older_than_the_data_are_said_to_be(copied: Path) -> None:
    stage = "stages:\n  ingest:\n    cmd: python -m flows.ingest\n    deps: [params.yaml]\n    outs: [data/out.txt]\n"
    (copied / "dvc.yaml").write_text(stage)
    with chdir(copied):
        assert any("older than its data or settings (ingest would run)" in note for note in diff("v1").notes)


def test_a_revision_of_something_else_is_refused(copied: Path) -> None:
    (copied / "params.yaml").write_text("other: 1\n")
    command(copied, "git", "add", "-A")
    command(copied, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "other")
    with chdir(copied), pytest.raises(DataError, match=r"HEAD: params.yaml has no paths.records"):
        diff("HEAD")


def test_outside_a_repository_says_where_to_run(tmp_path: Path) -> None:
    with chdir(tmp_path), pytest.raises(RunError, match="no git and DVC repository; run from the repository's root"):
        diff("v1")
