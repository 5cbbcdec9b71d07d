"""MLflow's database after the checkout was moved, copied or run in DVC's temporary copy: artifacts land here."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.entities import Run

from components.base.errors import RunError
from flows.settings import load_settings
from flows.tracking.mlflow_log import open_client, recorded_run, search_runs, tracking_uri


@pytest.fixture(scope="session")
def made_folder(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Path:
    """A checkout with one run in MLflow; its path has a blank and an umlaut, which MLflow stores in two forms."""
    folder = tmp_path_factory.mktemp("made") / "über all" / "checkout"
    folder.mkdir(parents=True)
    shutil.copy(repo / "params.yaml", folder / "params.yaml")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        record("first")
    return folder


@pytest.fixture
def made(made_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it that is a checkout of its own, at `original` in a folder with a blank, as the current folder."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    folder = tmp_path / "a b" / "original"
    shutil.copytree(made_folder, folder)
    monkeypatch.chdir(folder)
    open_client()
    return folder


def record(name: str) -> str:
    """Record a run with an artifact whose text is its name; the id."""
    file = Path(f"{name}.txt")
    file.write_text(name)
    with recorded_run(load_settings(), name, {"stage": name}) as log:
        log.artifact(file, "notes")
    return log.run_id


def newest(name: str) -> Run:
    return search_runs(open_client(), f"tags.stage = '{name}'", limit=1)[0]


def read(name: str) -> str:
    """The text of a run's artifact, as MLflow finds it."""
    return Path(open_client().download_artifacts(newest(name).info.run_id, f"notes/{name}.txt")).read_text()


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def stored(database: Path, old: Path) -> list[str]:
    """Everything in the database's text that names a folder, in either of MLflow's two forms."""
    with sqlite3.connect(database) as connection:
        dump = "\n".join(connection.iterdump())
    return [form for form in (f"{old}/", f"{old.as_uri()}/") if form in dump]


def test_a_moved_checkout_reads_its_runs_and_writes_here(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = made.with_name("moved %20 ünder")
    made.rename(moved)
    monkeypatch.chdir(moved)
    record("second")
    assert (read("first"), read("second")) == ("first", "second")
    assert not made.exists()
    assert newest("first").info.artifact_uri == (
        f"{moved.as_uri()}/mlruns/artifacts/{newest('first').info.run_id}/artifacts"
    )
    assert any(path.endswith("notes/second.txt") for path in files(moved / "mlruns" / "artifacts"))
    assert stored(moved / "mlruns" / "mlflow.db", made) == []
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mlflow: ")]
    assert told == [
        f"mlflow: MLflow's database was in {made}/mlruns and is in {moved}/mlruns now: its 2 experiments and 1 runs "
        "name the present folder"
    ]


def test_a_copied_checkout_leaves_the_original_alone(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(made)
    copy = made.with_name("copy")
    shutil.copytree(made, copy)
    monkeypatch.chdir(copy)
    record("second")
    assert (read("first"), read("second")) == ("first", "second")
    assert files(made) == before
    assert stored(copy / "mlruns" / "mlflow.db", made) == []
    monkeypatch.chdir(made)
    assert [run.data.tags["stage"] for run in search_runs(open_client())] == ["first"]
    assert read("first") == "first"


def test_artifacts_that_were_not_copied_are_counted_with_the_command_that_gets_them(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = made.with_name("copy")
    shutil.copytree(made, copy, ignore=shutil.ignore_patterns("artifacts"))
    monkeypatch.chdir(copy)
    open_client()
    told = capsys.readouterr().err.strip()
    assert "; the artifacts of 1 runs were not copied: mkdir -p " in told
    subprocess.run(told.partition(" were not copied: ")[2], shell=True, check=True)
    assert read("first") == "first"
    open_client()
    assert "mlflow: " not in capsys.readouterr().err


def test_folders_outside_the_checkout_stay_as_they_are(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An experiment that a person put elsewhere, and one whose folder only begins like the checkout's."""
    client = open_client()
    elsewhere = made.parent / "elsewhere"
    beside = made.with_name("original2") / "mlruns" / "artifacts"
    for name, place in {"own": elsewhere, "beside": beside}.items():
        client.create_run(client.create_experiment(name, artifact_location=place.as_uri()))
    moved = made.with_name("moved")
    made.rename(moved)
    monkeypatch.chdir(moved)
    client = open_client()
    for name, place in {"own": elsewhere, "beside": beside}.items():
        experiment = client.get_experiment_by_name(name)
        assert experiment.artifact_location == place.as_uri()
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.info.artifact_uri.startswith(f"{place.as_uri()}/")


def test_a_checkout_seen_through_a_link_is_the_same(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    link = made.with_name("link")
    link.symlink_to(made)
    monkeypatch.chdir(link)
    assert read("first") == "first"
    assert "mlflow: " not in capsys.readouterr().err


def test_mlruns_moved_to_another_disk_behind_a_link(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk" / "runs of dermflow"
    disk.parent.mkdir()
    (made / "mlruns").rename(disk)
    (made / "mlruns").symlink_to(disk)
    record("second")
    assert (read("first"), read("second")) == ("first", "second")
    assert any(path.endswith("notes/second.txt") for path in files(disk))
    moved = made.with_name("moved")
    made.rename(moved)
    monkeypatch.chdir(moved)
    assert (read("first"), read("second")) == ("first", "second")
    assert newest("second").info.artifact_uri.startswith(disk.as_uri())


def test_two_processes_at_once_move_a_database_once(made: Path, repo: Path) -> None:
    moved = made.with_name("moved")
    made.rename(moved)
    code = "from flows.tracking.mlflow_log import open_client; open_client()"
    given = {**os.environ, "PYTHONPATH": str(repo)}
    pair = [
        subprocess.Popen([sys.executable, "-c", code], cwd=moved, env=given, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told = [process.communicate()[1] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert sum("MLflow's database was in" in text for text in told) == 1


def test_a_database_that_cannot_be_written_is_named(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moved = made.with_name("moved")
    made.rename(moved)
    monkeypatch.chdir(moved)
    with sqlite3.connect(moved / "mlruns" / "mlflow.db") as connection:
        connection.execute(  # a file's mode stops no test that runs as root
            "CREATE TRIGGER closed BEFORE UPDATE ON runs BEGIN SELECT RAISE(ABORT, 'attempt to write'); END"
        )
    connection.close()
    with pytest.raises(RunError, match=r"names folders below .*/original/mlruns, .* cannot be changed .*: make it"):
        open_client()


def test_runs_of_dvcs_temporary_copy_are_kept(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("standalone/tmpk3w", "tmp9dj/sub"):
        copy = made / ".dvc" / "tmp" / "exps" / place
        copy.mkdir(parents=True)
        shutil.copy(made / "params.yaml", copy / "params.yaml")
        monkeypatch.chdir(copy)
        monkeypatch.setenv("DVC_EXP_NAME", "vital-pool")
        name = Path(place).name
        record(name)
        monkeypatch.chdir(made)
        shutil.rmtree(made / ".dvc" / "tmp" / "exps")
        assert read(name) == name
        assert newest(name).data.tags["dvc.experiment"] == "vital-pool"
    assert read("first") == "first"


def test_a_relative_database_of_a_person_is_that_of_the_real_checkout(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlruns/mlflow.db")
    assert tracking_uri() == f"sqlite:///{made}/mlruns/mlflow.db" and read("first") == "first"
    copy = made / ".dvc" / "tmp" / "exps" / "tmp"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert tracking_uri() == f"sqlite:///{made}/mlruns/mlflow.db"


def test_a_worktree_is_a_checkout_of_its_own(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = ("-c", "user.name=t", "-c", "user.email=t@t")
    for command in (["init", "-q"], ["add", "params.yaml"], ["commit", "-qm", "start"]):
        subprocess.run(["git", *name, *command], check=True)
    worktree = made.with_name("worktree")
    subprocess.run(["git", "worktree", "add", "-q", "--detach", str(worktree)], check=True)
    monkeypatch.chdir(worktree)
    record("second")
    assert [run.data.tags["stage"] for run in search_runs(open_client())] == ["second"]
    assert newest("second").data.tags["git.state"] == "known"


def test_a_database_outside_the_checkout_has_its_artifacts_next_to_it(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be that of several checkouts: its folders are not rewritten, and one that is gone is refused."""
    shared = tmp_path / "team" / "runs.db"
    shared.parent.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shared}")
    record("second")
    assert newest("second").info.artifact_uri.startswith((tmp_path / "team" / "artifacts").as_uri())
    moved = made.with_name("moved")
    made.rename(moved)
    monkeypatch.chdir(moved)
    assert read("second") == "second"
    (tmp_path / "team" / "artifacts").rename(tmp_path / "away")
    with pytest.raises(RunError, match=rf"keeps its artifacts in {tmp_path}/team/artifacts, .*`mkdir -p .*`"):
        record("third")
    assert not (tmp_path / "team" / "artifacts").exists()


DVC_STAGE = """
import sys
sys.path.insert(0, {repo!r})
from pathlib import Path
from flows.settings import load_settings
from flows.tracking.mlflow_log import recorded_run

Path("result.txt").write_text("0.5")
with recorded_run(load_settings(), "measure", {{"stage": "measure"}}) as log:
    log.artifact(Path("result.txt"), "notes")
"""


def test_runs_of_dvc_exp_run_temp_are_kept(made: Path, repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real command: DVC makes the copy, runs the stage there and deletes it."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    for variable in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
        monkeypatch.setenv(variable, "t")
    (made / "measure.py").write_text(DVC_STAGE.format(repo=str(repo)))
    (made / "dvc.yaml").write_text(
        f"stages:\n  measure:\n    cmd: {sys.executable} measure.py\n    deps: [measure.py]\n    outs: [result.txt]\n"
    )
    (made / ".gitignore").write_text("/mlruns\n*.txt\n")
    dvc = [sys.executable, "-m", "dvc"]
    for words in (["git", "init", "-q"], [*dvc, "init", "-q"], ["git", "add", "-A"], ["git", "commit", "-qm", "start"]):
        subprocess.run(words, check=True, capture_output=True)
    done = subprocess.run([*dvc, "exp", "run", "--temp"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert not list((made / ".dvc" / "tmp" / "exps" / "standalone").glob("tmp*"))
    run = newest("measure")
    assert run.data.tags["dvc.experiment"] in done.stdout
    place = open_client().download_artifacts(run.info.run_id, "notes/result.txt")
    assert Path(place).read_text() == "0.5"
    assert run.info.artifact_uri.startswith((made / "mlruns").as_uri())
