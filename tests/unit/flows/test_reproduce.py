"""`dermflow reproduce` on a real repository under git, DVC and MLflow: two stages that take milliseconds."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from mlflow.entities import Run
from ruamel.yaml import YAML
from typer.testing import CliRunner

from components.base.errors import RunError
from flows.commands.cli import app
from flows.orchestration import processes
from flows.orchestration.processes import mark_checkout, only_run
from flows.reproduction.compare_runs import compare_locks, read_flat
from flows.reproduction.reproduce import (
    LEFT_OUT,
    UNEXPLAINED,
    Origin,
    Outcome,
    _Former,
    choose_run,
    describe,
    find_run,
    is_same,
    left_out,
    reproduce,
)
from flows.settings import load_settings
from flows.tracking import mlflow_log
from flows.tracking.environment import DIFF, FOLDER, code_changes, differing
from flows.tracking.lineage import file_md5
from flows.tracking.mlflow_log import end_dead_flows, open_client
from flows.tracking.resumed_runs import TAG

# DVC 3.67 asks pygtrie in a way that pygtrie will not answer for ever
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

DATA = Path("data/raw/mine")
GRAPH = """stages:
  measure:
    cmd: python -m flows.measure
    deps: ["${dataset.path}", flows/measure.py]
    params: [dataset, split.seed]
    outs: [data/lengths.csv, "${paths.metrics}/measure.json": {cache: false}]
  tell:
    cmd: python -m flows.tell
    deps: [data/lengths.csv, flows/tell.py]
    params: [compare.margin]
    outs: ["${paths.metrics}/tell.json": {cache: false}]
"""
MEASURE = """
import json
from pathlib import Path
from ruamel.yaml import YAML

data = Path(YAML(typ="safe").load(Path("params.yaml"))["dataset"]["path"])
rows = [(file.name, len(file.read_text())) for file in sorted(data.iterdir())]
Path("data").mkdir(exist_ok=True)
Path("metrics").mkdir(exist_ok=True)
Path("data/lengths.csv").write_text("name,length\\n" + "".join(f"{name},{length}.0\\n" for name, length in rows))
Path("metrics/measure.json").write_text(json.dumps({"files": len(rows)}))
"""
TELL = """
import json, os
from pathlib import Path

lengths = [float(line.split(",")[1]) for line in Path("data/lengths.csv").read_text().splitlines()[1:]]
mean = sum(lengths) / len(lengths) + float(os.environ.get("TOY_SHIFT") or 0)
Path("metrics/tell.json").write_text(json.dumps({"of": {"mean": mean}, "words": "lengths"}))
"""


def command(folder: Path, *words: str) -> str:
    """Run a tool in the repository; git knows nobody."""
    here = str(Path(sys.executable).parent)
    given = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "DVC_NO_ANALYTICS": "1", "PYTHONPATH": str(folder),
             "PATH": f"{here}{os.pathsep}{os.environ['PATH']}"}  # fmt: skip
    done = subprocess.run(words, cwd=folder, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def commit(folder: Path) -> None:
    command(folder, "git", "add", "-A")
    command(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "state")


def record(stage: str) -> str:
    """Run a stage by DVC, and keep of it in MLflow what every stage keeps; the id of the run."""
    command(Path.cwd(), sys.executable, "-m", "dvc", "repro", "-q", stage)
    path = Path(f"metrics/{stage}.json")
    with mlflow_log.recorded_run(load_settings(), stage, {"stage": stage, "item": ""}) as log:
        log.artifact(path)
        log.tags({"made": file_md5(path)})
    return log.run_id


def change(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Path:
    """A committed repository; one MLflow database for all tests, as making it takes seconds."""
    folder = tmp_path_factory.mktemp("study") / "checkout"
    (folder / "flows").mkdir(parents=True)
    values = YAML(typ="safe").load((repo / "params.yaml").read_text())
    values["dataset"] = {"kind": "ham10000", "path": str(DATA)}
    with (folder / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(values, file)
    for name, text in {
        "dvc.yaml": GRAPH,
        "flows/measure.py": MEASURE,
        "flows/tell.py": TELL,
        "flows/__init__.py": "",
    }.items():
        (folder / name).write_text(text)
    shutil.copy(repo / ".gitignore", folder / ".gitignore")
    command(folder, "git", "init", "-q")
    command(folder, sys.executable, "-m", "dvc", "init", "-q")
    write_data(folder / DATA)
    commit(folder)
    return folder


@pytest.fixture(autouse=True)
def checkout(study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test finds the repository as committed, its data as first written, and its own database of runs."""
    monkeypatch.chdir(study)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    command(study, "git", "checkout", "-q", ".")
    command(study, "git", "clean", "-qfd")
    for path in (study / "dvc.lock", study / f"{DATA}.dvc"):
        path.unlink(missing_ok=True)
    write_data(study / DATA)
    return study


def write_data(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, length in {"a.txt": 3, "b.txt": 4, "c.txt": 8}.items():
        (folder / name).write_text("x" * length)


def again(run: str, into: Path, without_changes: bool = False) -> tuple[Outcome, str]:
    told: list[str] = []
    outcome = reproduce(run, into, without_changes, told.append)
    return outcome, "\n".join([*told, *describe(outcome)])


def test_a_run_of_a_changed_tree_is_made_again_to_the_last_bit(checkout: Path, tmp_path: Path) -> None:
    """Code and settings of the run are neither those of the commit nor those of now."""
    change("flows/tell.py", "/ len(lengths)", "/ len(lengths) + EXTRA")
    change("flows/tell.py", "import json, os", "import json, os\nfrom flows.extra import EXTRA")
    Path("flows/extra.py").write_text("EXTRA = 0.25  # git does not know this file yet: é\n")
    change("params.yaml", "margin: 0.02", "margin: 0.03")
    run = record("tell")
    command(checkout, "git", "checkout", "-q", ".")
    Path("flows/extra.py").unlink()
    record("tell")
    outcome, said = again(run[:12], tmp_path / "new")
    assert (outcome.verdict, is_same(outcome)) == ("equal", True)
    assert "equal: 3 outputs of 2 stages compared, the same to the last bit" in said
    assert "was applied from the run's code.diff: flows/extra.py, flows/tell.py" in said
    assert json.loads((tmp_path / "new" / "metrics/tell.json").read_text())["of"]["mean"] == 5.25
    assert "margin: 0.03" in (tmp_path / "new" / "params.yaml").read_text()
    tags = open_client().get_run(run).data.tags
    assert re.fullmatch(r"equal, \d{4}-\d\d-\d\dT[\d:]+Z", tags["reproduced"])
    assert json.loads((tmp_path / "new" / "reproduction.json").read_text())["verdict"] == "equal"
    assert open_client().list_artifacts(run, "reproduced")
    less, said = again(run, tmp_path / "less", without_changes=True)
    assert (less.verdict, is_same(less)) == ("differs", False)
    assert "it begins at tell:" in said and f"likely: {LEFT_OUT}" in said
    assert "of/mean: 5.25 then, 5.0 now, -0.25" in said


def test_a_number_that_differs_is_named_and_last_digits_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = record("tell")
    monkeypatch.setenv("TOY_SHIFT", "1e-9")
    near, said = again(run, tmp_path / "near")
    assert (near.verdict, is_same(near)) == ("equal within 1e-06", True)
    assert "metrics/tell.json: numbers at most 2" in said
    monkeypatch.setenv("TOY_SHIFT", "0.5")
    far = CliRunner().invoke(app, ["reproduce", run, "--into", str(tmp_path / "far")])
    assert far.exit_code == 1
    assert "differs: 3 outputs of 2 stages compared\nit begins at tell:" in far.output
    assert "of/mean: 5.0 then, 5.5 now, +0.5" in far.output and UNEXPLAINED in far.output
    report = json.loads((tmp_path / "far" / "reproduction.json").read_text())
    assert (report["first"], report["stages"][1]["numbers"]) == ("tell", [{"name": "of/mean", "then": 5.0, "now": 5.5}])


def test_other_data_are_refused_and_both_versions_named(tmp_path: Path) -> None:
    run = record("tell")
    (DATA / "b.txt").write_text("something else")
    done = CliRunner().invoke(app, ["reproduce", run, "--into", str(tmp_path / "new")])
    assert done.exit_code == 2
    words = rf"{DATA}: other data: the run read md5 \w+\.dir, here is md5 \w+\.dir, and DVC does not keep it \(no .dvc"
    assert re.search(words, done.output)
    shutil.rmtree(DATA)
    with pytest.raises(RunError, match=r"the data set of the run \(md5 \w+\.dir\) is not here; put it there"):
        again(run, tmp_path / "gone")


def test_data_that_dvc_keeps_come_back_in_the_version_of_the_run(checkout: Path, tmp_path: Path) -> None:
    command(checkout, sys.executable, "-m", "dvc", "add", "-q", str(DATA))
    run = record("tell")
    (DATA / "b.txt").unlink()  # DVC's links are read-only
    (DATA / "b.txt").write_text("something else")
    command(checkout, sys.executable, "-m", "dvc", "add", "-q", str(DATA))
    outcome, _ = again(run, tmp_path / "new")
    assert outcome.verdict == "equal"
    assert (tmp_path / "new" / DATA / "b.txt").read_text() == "xxxx"
    assert not (tmp_path / "new" / DATA).is_symlink()
    assert (DATA / "b.txt").read_text() == "something else"


def test_data_beside_the_repository_are_read_where_they_lie(checkout: Path, tmp_path: Path) -> None:
    write_data(checkout.parent / "mine")
    change("params.yaml", f"path: {DATA}", "path: ../mine")
    run = record("measure")
    outcome, said = again(run, tmp_path / "new")
    assert outcome.verdict == "equal"
    assert "dataset.path is written absolute there: ../mine leads elsewhere from a clone" in said
    assert str(checkout) not in (tmp_path / "new" / "reproduction.json").read_text()  # which MLflow gets


def test_the_path_of_an_external_cohort_is_told_as_the_run_called_it(checkout: Path, tmp_path: Path) -> None:
    """Absolute in the clone, and in dvc.lock within a list; it is no reason, and MLflow does not get it."""
    write_data(checkout.parent / "theirs")
    change("params.yaml", "external: []", "external: [{name: pad, dataset: {kind: pad_ufes, path: ../theirs}}]")
    change("dvc.yaml", "flows/tell.py]", 'flows/tell.py, "${external[0].dataset.path}"]')
    change("dvc.yaml", "[compare.margin]", "[compare.margin, external]")
    run = record("tell")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOY_SHIFT", "0.5")
        outcome, said = again(run, tmp_path / "new")
    place = str(checkout.parent / "theirs")
    assert outcome.verdict == "differs" and list(outcome.workspace.moved) == [place]
    assert place in (tmp_path / "new" / "dvc.lock").read_text()
    assert outcome.comparison.first is not None and outcome.comparison.first.reasons == []
    assert "likely" in said and "other setting" not in said and "other data" not in said
    assert str(checkout.parent) not in (tmp_path / "new" / "reproduction.json").read_text()


def test_nothing_is_made_where_no_checkout_is(tmp_path: Path) -> None:
    with chdir(tmp_path), pytest.raises(RunError, match=rf"{tmp_path} has no params.yaml: run this in the checkout"):
        reproduce("any", None, False, print)
    assert not list(tmp_path.iterdir())


def test_a_run_is_found_by_what_its_id_or_name_begins_with(tmp_path: Path) -> None:
    client, settings = open_client(), load_settings()
    ids = []
    for name in ("finetune@vae-frozen-0", "finetune@vae-frozen-1", "finetune@vae-frozen-1"):
        with mlflow_log.recorded_run(settings, name, {"stage": "finetune"}) as log:
            ids.append(log.run_id)
    assert find_run(client, ids[0][:10]).info.run_id == ids[0]
    assert find_run(client, "finetune@vae-frozen-0").info.run_id == ids[0]
    with pytest.raises(
        RunError, match=rf"'finetune@vae-frozen-1' begins 2 runs: name one by more of its id\n.*{ids[2]}"
    ):
        find_run(client, "finetune@vae-frozen-1")
    with pytest.raises(
        RunError, match=rf"(?s)is no run of MLflow; the nearest are\n.*  {ids[0]}  finetune@vae-frozen-0"
    ):
        find_run(client, "fintune@vae-frozen-0")
    with pytest.raises(RunError, match="is no run of MLflow; the newest are\n"):
        find_run(client, "zzzz")
    with pytest.raises(RunError, match="'zzzz': MLflow has no run yet; `dermflow run` makes the first"):
        choose_run([], "zzzz")
    with pytest.raises(RunError, match="is no run of a stage: it has no tag `made`"):
        reproduce(ids[0], tmp_path / "new", False, print)


def test_what_cannot_be_made_again_is_refused(tmp_path: Path) -> None:
    client, settings = open_client(), load_settings()
    with pytest.raises(KeyboardInterrupt), mlflow_log.recorded_run(settings, "killed", {"stage": "tell"}) as killed:
        raise KeyboardInterrupt
    with pytest.raises(RunError, match="is KILLED: it made nothing that could be compared"):
        reproduce(killed.run_id, tmp_path / "new", False, print)
    with mlflow_log.recorded_run(settings, "pipeline demo", {"stage": "pipeline"}) as bare:
        pass
    with pytest.raises(RunError, match=r"kept no dvc.lock: there is nothing to compare with; name one of its stages"):
        reproduce(bare.run_id, tmp_path / "new", False, print)
    run = record("tell")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(RunError, match="full: is not empty; name a new folder"):
        reproduce(run, tmp_path / "full", False, print)
    client.set_tag(run, DIFF, "0" * 64)
    with pytest.raises(RunError, match=r"the artifact code.diff is missing or is not what was recorded \(sha256 0000"):
        reproduce(run, tmp_path / "other", False, print)
    client.delete_tag(run, DIFF)
    client.set_tag(run, "git.dirty", "true")
    with pytest.raises(RunError, match=r"had changes beyond commit \w+ that were not kept.*--without-changes makes it"):
        reproduce(run, tmp_path / "old", False, print)
    client.set_tag(run, "git.commit", "0" * 40)
    with pytest.raises(RunError, match=r"commit 0+ of the run is not in this repository: fetch it"):
        reproduce(run, tmp_path / "far", True, print)


def test_a_run_whose_stages_are_in_no_graph_is_not_called_equal(tmp_path: Path) -> None:
    lock = {"stages": {name: entry({f"{name}.csv": "1"}, {}) for name in ("former", "older")}}
    (tmp_path / "dvc.lock").write_text(json.dumps(lock))  # which is YAML, too
    with mlflow_log.recorded_run(load_settings(), "pipeline demo", {"stage": "pipeline"}) as log:
        log.artifact(tmp_path / "dvc.lock")
    with pytest.raises(RunError, match=r"none of its 2 recorded stages is in the clone's graph \(dvc.yaml of commit"):
        reproduce(log.run_id, tmp_path / "new", False, print)
    assert left_out(lock["stages"], ["former", "tell"]) == [
        "recorded, but not in the clone's graph, and not compared: older"
    ]
    assert left_out(lock["stages"], ["older", "former"]) == []


def test_a_refusing_artifact_store_leaves_no_run_that_seems_to_go_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    client = open_client()
    experiment = client.create_experiment("refused", artifact_location=(tmp_path / "file" / "inside").as_uri())
    change("params.yaml", "name: demo", "name: refused")
    with pytest.raises(NotADirectoryError), mlflow_log.recorded_run(load_settings(), "tell", {"stage": "tell"}):
        pytest.fail("the work began")
    (run,) = client.search_runs([experiment])
    assert run.info.status == "FAILED" and "NotADirectoryError" in run.data.tags["error"]


def test_what_a_report_held_is_found_with_the_pipeline_run(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC does not cache reports/*.json, and no tag `made` knows them."""
    client, settings, path = open_client(), load_settings(), "reports/external/pad.json"
    (tmp_path / "reports" / "external").mkdir(parents=True)
    (tmp_path / path).write_text('{"rows": [{"p": 0.5}, null]}')
    with mlflow_log.recorded_run(settings, "pipeline demo", {"stage": "pipeline"}) as flow:
        flow.artifact(tmp_path / "reports", "reports")
    monkeypatch.setenv(mlflow_log.PARENT_VARIABLE, flow.run_id)
    with mlflow_log.recorded_run(settings, "tell", {"stage": "tell"}) as stage:
        pass
    for run_id in (flow.run_id, stage.run_id):
        origin = Origin(client, client.get_run(run_id), tmp_path / run_id)
        find = _Former(origin, checkout, tmp_path / "cache", Path("reports"))
        found = find(path, file_md5(tmp_path / path))
        assert found is not None and read_flat(found) == {"rows/0/p": 0.5, "rows/1": None}
        assert find(path, "0" * 32) is None


def test_stopping_leaves_no_process_and_names_the_workspace(checkout: Path, repo: Path, tmp_path: Path) -> None:
    change(
        "flows/tell.py", "lengths = ", "import time; time.sleep(float(os.environ.get('TOY_SLEEP') or 0))\nlengths = "
    )
    run, new = record("tell"), tmp_path / "new"
    code = (
        "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
        "runpy.run_module('flows.commands.cli', run_name='__main__')"
    )
    words = [sys.executable, "-P", "-c", code, str(repo), "reproduce", run, "--into", str(new)]
    given = {**os.environ, "TOY_SLEEP": "60", "PYTHONPATH": ""}
    going = subprocess.Popen(words, env=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until = time.monotonic() + 120
    while not ((new / "reproduction.log").exists() and "flows.tell" in (new / "reproduction.log").read_text()):
        assert going.poll() is None and time.monotonic() < until, going.stdout
        time.sleep(0.1)
    going.send_signal(signal.SIGTERM)
    said = going.communicate(timeout=60)[0]
    assert going.returncode == 130 and f"the workspace is kept: {new}" in said
    with chdir(new):
        processes.refuse_survivors(["tell", "measure"])


def changed_files(diff: bytes) -> list[str]:
    return re.findall(r"^diff --git a/(\S+)", diff.decode(), re.M)


def test_the_diff_holds_code_alone_and_leaves_the_index_as_it_is(checkout: Path) -> None:
    record("tell")
    change("params.yaml", "margin: 0.02", "margin: 0.03")
    Path("notes.txt").write_text("of mine")
    assert code_changes(load_settings()) == b""
    Path("flows/new.py").write_text("x = 1\n")
    before = command(checkout, "git", "status", "--porcelain")
    diff = code_changes(load_settings())
    assert changed_files(diff) == ["flows/new.py"]
    assert command(checkout, "git", "status", "--porcelain") == before
    assert "?? flows/new.py" in before and "notes.txt" in before


def test_with_data_of_ones_own_the_diff_names_no_other_file(checkout: Path) -> None:
    """Public: every known file that changed, and pointers to data. Secret: neither their names nor what is in them."""
    for path in (".gitignore", "dvc.yaml", "flows/tell.py"):
        Path(path).write_text(Path(path).read_text() + "# Erika Mustermann\n")
    pointers = ["data/raw/erika.dvc", "flows/erika.dvc"]
    for path in [*pointers, "flows/new.py"]:
        Path(path).write_text("outs: []\n")
    code = ["dvc.yaml", "flows/new.py", "flows/tell.py"]
    assert sorted(changed_files(code_changes(load_settings()))) == sorted([".gitignore", *pointers, *code])
    change("params.yaml", "key: public", "key: secret")
    diff = code_changes(load_settings())
    assert sorted(changed_files(diff)) == code and b"erika" not in diff and b".gitignore" not in diff
    with mlflow_log.recorded_run(load_settings(), "tell", {"stage": "tell"}) as log:
        pass
    kept = Path(open_client().download_artifacts(log.run_id, f"{FOLDER}/{DIFF}"))
    assert kept.read_bytes() == diff


def test_changes_that_git_cannot_tell_are_not_called_none(tmp_path: Path) -> None:
    settings = load_settings()
    with chdir(tmp_path):
        assert code_changes(settings) == b""  # no repository
        command(tmp_path, "git", "init", "-q")
        assert code_changes(settings) == b""  # no commit
        (tmp_path / ".git" / "HEAD").write_text("1" * 40)
        with pytest.raises(RunError, match=r"git diff --binary failed, so what .* beyond the commit is lost: .*HEAD"):
            code_changes(settings)


def entry(outs: dict[str, str], deps: dict[str, str], **params: object) -> dict[str, object]:
    """A stage of dvc.lock."""
    listed = ([{"path": path, "md5": md5} for path, md5 in paths.items()] for paths in (deps, outs))
    return {"cmd": "x", **dict(zip(("deps", "outs"), listed, strict=True)), "params": {"params.yaml": params}}


def test_the_first_stage_that_differs_is_named_with_its_inputs(tmp_path: Path) -> None:
    """What differs further down is a consequence; of a page nothing is compared."""
    pages = {"index.html": "9", "model_card.md": "10", "answer.txt": "11"}
    for name in ("split.csv", *pages):
        (tmp_path / name).write_text("a,0.5\n")
    (tmp_path / "former").write_text("a,0.75\n")
    code, data = "components/data/splits.py", "data/raw/mine"
    then = {
        "ingest": entry({"records": "1"}, {"/else/mine": "d"}, dataset={"path": "/else/mine"}),
        "split": entry({"split.csv": "2"}, {code: "3", data: "4", "records": "1"}, split={"seed": 0, "folds": None}),
        "tell": entry(dict.fromkeys(pages, "5"), {"split.csv": "2"}),
    }
    now = {
        "ingest": entry({"records": "1"}, {"../mine": "d"}, dataset={"path": "../mine"}),
        "split": entry({"split.csv": "6"}, {code: "7", data: "8", "records": "1"}, split={"seed": 1, "folds": None}),
        "tell": entry(pages, {"split.csv": "6"}),
        "new": entry({}, {}),
    }
    moved = {"../mine": "/else/mine"}
    found = compare_locks(then, now, [*now, "not run"], tmp_path, lambda path, md5: tmp_path / "former", moved)
    assert [(stage.address, stage.verdict) for stage in found.stages] == [
        ("ingest", "equal"), ("split", "differs"), ("tell", "equal within 1e-06")
    ]  # fmt: skip
    assert found.verdict == "differs" and found.unrecorded == ["new"]
    assert found.first is not None and found.first.reasons == [
        f"other code: {code} (md5 3 then, 7 now)",
        f"other data: {data} (md5 4 then, 8 now)",
        "other setting: split.seed = 0 then, 1 now",
    ]
    assert found.first.files[0].distance == math.inf  # "0.5" and "0.75" are names of columns
    assert compare_locks(then, {}, ["ingest"], tmp_path, lambda path, md5: None, {}).verdict == "differs"  # none made
    lost = compare_locks(then, now, ["split"], tmp_path, lambda path, md5: None, moved)
    assert lost.stages[0].files[0].lost and lost.verdict == "differs"


def test_a_folder_is_as_far_apart_as_its_files(tmp_path: Path) -> None:
    """DVC keeps a folder as a list of md5; here of weights, in which one last digit differs."""
    former, now = tmp_path / "former", tmp_path / "runs"
    for folder, shift in ((former, 0.0), (now, 1e-9)):
        folder.mkdir()
        for name, values in {"a.npy": [0.5, 1.0], "b.npy": [0.25 + shift]}.items():
            np.save(folder / name, np.array(values))
    listing = [{"relpath": name, "md5": file_md5(former / name)} for name in ("a.npy", "b.npy")]
    (former / "list").write_text(json.dumps(listing))

    def find(path: str, md5: str) -> Path:
        return former / ("list" if md5.endswith(".dir") else Path(path).name)

    locks = [{"evaluate": entry({"runs": f"{word}.dir"}, {})} for word in ("then", "now")]
    found = compare_locks(*locks, ["evaluate"], tmp_path, find, {})
    assert found.stages[0].files[0].distance == pytest.approx(1e-9) and found.verdict == "equal within 1e-06"
    (now / "c.npy").touch()
    assert compare_locks(*locks, ["evaluate"], tmp_path, find, {}).verdict == "differs"


def test_versions_that_differ_are_named() -> None:
    found = differing(["numpy==2.0\n", "torch==2.15\n", "gone==1\n"], {"numpy": "2.1", "torch": "2.15", "more": "3"})
    assert found == ["gone 1 then, absent now", "more absent then, 3 now", "numpy 2.0 then, 2.1 now"]


FLOW = """
import os, signal
from flows import pipeline, tracking
from flows.processes import only_run
from flows.settings import load_settings

settings = load_settings()
with only_run([]), pipeline._recorded(settings) as log:
    os.environ[tracking.PARENT_VARIABLE] = log.run_id
    for name, tags in {"pack": {}, "finetune": {"training": "mark"}}.items():
        tracking._create(log.client, settings, name, {"stage": name, **tags})
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_flow_killed_without_a_word_is_ended_by_the_next(checkout: Path, repo: Path) -> None:
    """A training stays as it is: whoever goes on with it looks for a run that says RUNNING."""
    words = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(repo)!r}){FLOW}"]
    killed = subprocess.run(words, env={**os.environ, "PYTHONPATH": ""}, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    client = open_client()
    elsewhere = mlflow_log._create(client, load_settings(), "theirs", {"stage": "pipeline", "checkout": "0f"})
    (flow,) = [run for run in running(client) if run.data.tags.get("checkout") not in (None, "0f")]
    with only_run([]):
        assert end_dead_flows(client, mark_checkout()) == [f"{flow.info.run_name} ({flow.info.run_id})"]
        assert end_dead_flows(client, mark_checkout()) == []
    assert "ended without a word" in client.get_run(flow.info.run_id).data.tags["error"]
    below = client.search_runs([flow.info.experiment_id], f"tags.mlflow.parentRunId = '{flow.info.run_id}'")
    assert {run.info.run_name: run.info.status for run in [flow, *below][1:]} == {
        "pack": "KILLED",
        "finetune": "RUNNING",
    }
    assert client.get_run(flow.info.run_id).info.status == "KILLED"
    assert [run.info.run_id for run in running(client) if TAG not in run.data.tags] == [elsewhere]


def running(client: mlflow_log.MlflowClient) -> list[Run]:
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, "attributes.status = 'RUNNING'"))


def test_a_copied_checkout_has_another_mark(checkout: Path, tmp_path: Path) -> None:
    mark = mark_checkout()
    assert mark == mark_checkout() and str(checkout) not in mark
    shutil.copytree(checkout / ".dvc" / "tmp" / "dermflow", tmp_path / ".dvc" / "tmp" / "dermflow")
    with chdir(tmp_path):
        assert mark_checkout() != mark
