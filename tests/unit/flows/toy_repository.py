"""A small repository under git, DVC and MLflow, with two stages that take milliseconds, and tools to work in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from flows.reproduction.report import Reproduction, describe
from flows.reproduction.reproduce import reproduce
from flows.settings import load_settings
from flows.tracking import mlflow_log
from flows.tracking.lineage import file_md5

DATA = Path("data/raw/mine")
GRAPH = """stages:
  measure:
    cmd: python -m flows.measure
    deps: ["${dataset.path}", flows/measure.py]
    params: [dataset, split.seed]
    outs: [data/lengths.csv, "${paths.metrics}/measure.json": {cache: false}]
  average:
    cmd: python -m flows.average
    deps: [data/lengths.csv, flows/average.py]
    params: [compare.margin]
    outs: ["${paths.metrics}/average.json": {cache: false}]
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


AVERAGE = """
import json, os
from pathlib import Path

lengths = [float(line.split(",")[1]) for line in Path("data/lengths.csv").read_text().splitlines()[1:]]
mean = sum(lengths) / len(lengths) + float(os.environ.get("TOY_SHIFT") or 0)
Path("metrics/average.json").write_text(json.dumps({"of": {"mean": mean}, "words": "lengths"}))
"""


def command(folder: Path, *words: str) -> str:
    """Run a tool in the repository, without the user's git configuration, and return its output."""
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
    """Run a stage by DVC and log it in MLflow as every stage is logged; the id of the run."""
    command(Path.cwd(), sys.executable, "-m", "dvc", "repro", "-q", stage)
    path = Path(f"metrics/{stage}.json")
    with mlflow_log.recorded_run(load_settings(), stage, {"stage": stage, "item": ""}) as log:
        log.artifact(path)
        log.tags({"made": file_md5(path)})
    return log.run_id


def change(path: str, old: str, new: str) -> None:
    """Replace a text that the file contains."""
    text = Path(path).read_text()
    assert old in text
    Path(path).write_text(text.replace(old, new))


def write_data(folder: Path) -> None:
    """Three text files of 3, 4 and 8 characters, and nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, length in {"a.txt": 3, "b.txt": 4, "c.txt": 8}.items():
        (folder / name).write_text("x" * length)


def repeat(run: str, into: Path, without_changes: bool = False) -> tuple[Reproduction, str]:
    """Reproduce a run; the result, and all that was printed."""
    lines: list[str] = []
    found = reproduce(run, into=into, without_changes=without_changes, echo=lines.append)
    return found, "\n".join([*lines, *describe(found)])


def build(folder: Path, repo: Path) -> None:
    """A committed repository: params.yaml of `repo`, two stages, data outside git."""
    (folder / "flows").mkdir(parents=True)
    values = YAML(typ="safe").load((repo / "params.yaml").read_text())
    values["dataset"] = {"kind": "ham10000", "path": str(DATA)}
    with (folder / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(values, file)
    stages = {"flows/measure.py": MEASURE, "flows/average.py": AVERAGE, "flows/__init__.py": ""}
    for name, text in {"dvc.yaml": GRAPH, **stages}.items():
        (folder / name).write_text(text)
    shutil.copy(repo / ".gitignore", folder / ".gitignore")
    command(folder, "git", "init", "-q")
    command(folder, sys.executable, "-m", "dvc", "init", "-q")
    write_data(folder / DATA)
    commit(folder)


def restore(folder: Path) -> None:
    """The repository as committed and its data as first written; runs in MLflow stay."""
    command(folder, "git", "checkout", "-q", ".")
    command(folder, "git", "clean", "-qfd")
    for path in (folder / "dvc.lock", folder / f"{DATA}.dvc"):
        path.unlink(missing_ok=True)
    write_data(folder / DATA)
