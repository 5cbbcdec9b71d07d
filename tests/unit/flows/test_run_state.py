"""The state of a run: what counts as a change, and how messages name it."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.base.errors import RunError
from flows.orchestration import run_state
from flows.orchestration.run_state import VARIABLE, RunState, StageState, changed_since_start, files_below

CODE = "components/training/loop.py"
GRAPH = """stages:
  finetune:
    cmd: python -m flows.finetune
    deps:
      [data/pixels, components/training/loop.py, "components/data/adapters/${dataset.kind}.py", components/page.html.j2]
  compare:
    cmd: python -m flows.compare
    deps: [components/other.py]
"""
PARAMS = "finetune: {epochs: 6, seeds: [0, 1]}  # a comment\ncompute: {threads: 1}\n"
FILES = (CODE, "components/data/adapters/folder.py", "components/page.html.j2", "components/other.py", "flows/extra.py")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """params.yaml, dvc.yaml and some files of code."""
    monkeypatch.chdir(tmp_path)
    for name in FILES:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("1\n")
    Path("params.yaml").write_text(PARAMS)
    Path("dvc.yaml").write_text(GRAPH)
    return tmp_path


def replace(path: str, old: str, new: str) -> None:
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


def test_each_changed_setting_is_named_with_both_values(checkout: Path) -> None:
    state = RunState.read([CODE])
    assert state.changes() == []
    replace("params.yaml", "# a comment", "# another comment")
    assert state.changes() == []
    replace("params.yaml", "epochs: 6, seeds: [0, 1]", "epochs: 7, patience: 3")
    assert state.changes() == [
        "params.yaml: finetune.epochs: 6 -> 7",
        "params.yaml: finetune.seeds: [0, 1] -> none",
        "params.yaml: finetune.patience: none -> 3",
    ]
    Path("params.yaml").write_text(PARAMS)
    assert state.changes() == []


def test_changes_of_graph_and_code_are_named(checkout: Path) -> None:
    state = RunState.read(FILES)
    replace("dvc.yaml", "cmd: python -m flows.compare", "cmd: python -m flows.other")
    Path(CODE).write_text("2\n")
    Path("components/other.py").unlink()
    assert state.changes() == [
        "dvc.yaml: stages.compare.cmd: python -m flows.compare -> python -m flows.other",
        f"{CODE}: its content",
        "components/other.py: its content",
    ]


@pytest.mark.parametrize("text", ["", "a: [1", "7"])
def test_a_file_that_is_half_written_is_a_change(checkout: Path, text: str) -> None:
    state = RunState.read([])
    Path("params.yaml").write_text(text)
    assert len(state.changes()) == 1
    Path("params.yaml").unlink()
    assert len(state.changes()) == 1


def test_a_stage_that_a_run_started_compares_with_the_start_of_the_run(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert changed_since_start() == []
    RunState.read([CODE]).write(checkout / "state.json")
    monkeypatch.setenv(VARIABLE, str(checkout / "state.json"))
    assert changed_since_start() == []
    replace("params.yaml", "threads: 1", "threads: 2")
    assert changed_since_start() == ["params.yaml: compute.threads: 1 -> 2"]
    (checkout / "state.json").write_text("[]")
    with pytest.raises(RunError, match=f"{VARIABLE} = .*state.json cannot be read"):
        changed_since_start()


def test_a_stage_refuses_its_output_where_its_own_settings_or_code_changed(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_state, "_loaded", lambda: {CODE, "flows/extra.py"})
    state = StageState("finetune", ["finetune", "compute"])
    replace("params.yaml", "threads: 1", "threads: 2")  # DVC does not record it
    for path in ("components/other.py", "flows/extra.py", "components/data/adapters/folder.py"):
        Path(path).write_text("2\n")  # no dep of the stage, or not imported
    state.check()
    for path in (CODE, "components/page.html.j2"):
        Path(path).write_text("2\n")
        with pytest.raises(RunError, match=rf"changed while this stage ran:\n  {path}: its content\nDVC would record"):
            state.check()
        Path(path).write_text("1\n")
    replace("params.yaml", "epochs: 6", "epochs: 7")
    with pytest.raises(RunError, match=r"\n  params.yaml: finetune.epochs: 6 -> 7\n"):
        state.check()


def test_files_below_folders_are_watched(checkout: Path) -> None:
    assert files_below([CODE, "components/data"]) == ["components/data/adapters/folder.py", CODE]
