"""Checkouts to run the pipeline in: real DVC, Prefect and MLflow, tiny images, a tiny network."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import psutil
import pytest
from mlflow.entities import Run
from PIL import Image

from components.synthetic.dataset import draw_dataset
from tests.conftest import AT_START, FOR_STAGES

REPO = Path(__file__).resolve().parents[2]
TINY = (
    "study.arms=[imagenet,random]", "study.protocols=[frozen]", "study.seeds=[0]",
    "synthesize.lesions=90", "synthesize.unlabelled=6", "synthesize.image_size=48", "pack.image_size=32",
    "finetune.frozen={epochs: 2, learning_rate: 0.003}", "finetune.batch_size=16", "compare.resamples=50",
    "scan.workers=1",
)  # fmt: skip
HANGS = 1800
"""Seconds after which a command is taken to hang; a study takes two minutes, and 15 where other tests use the cores."""


def environment(home: Path) -> dict[str, str]:
    """This interpreter's tools first, Prefect's database in `home`, and no server."""
    here = str(Path(sys.executable).parent)
    return {
        **AT_START, **FOR_STAGES, "PATH": f"{here}{os.pathsep}{os.environ['PATH']}",
        "PREFECT_HOME": str(home / "prefect"), "DERMFLOW_KEY_FILE": str(home / "key"), "MLFLOW_TRACKING_URI": "",
        "PREFECT_API_URL": "",
    }  # fmt: skip


class Checkout:
    """A fresh checkout of the working tree under git and DVC."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.environment = folder, environment(home)

    def run(self, *words: str, check: bool = True, timeout: float = HANGS) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *words], cwd=self.folder, env=self.environment, capture_output=True, text=True,
            check=False, timeout=timeout,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{words}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        return done

    def start(self, *words: str, output: Path) -> subprocess.Popen[bytes]:
        """Start a process; Ctrl-C reaches it even where the tests themselves ignore it (`nohup`, CI)."""
        with output.open("wb") as out:
            return subprocess.Popen(
                [sys.executable, *words], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # safe: this process has one thread
            )  # fmt: skip

    def repro(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "dvc", "repro", *words, check=check)

    def flow(self, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "flows.pipeline", check=check)

    def use(self, *changes: str) -> None:
        self.run("-m", "flows.commands.cli", "use", "demo", *TINY, *changes)

    def keep_stages(self, *names: str) -> None:
        """Take all other stages out of dvc.yaml, whose form stays, so that `use` can write its deps."""
        graph = self.folder / "dvc.yaml"
        head, *stages = re.split(r"^(?=  \w+:)", graph.read_text(), flags=re.MULTILINE)
        graph.write_text(head + "".join(part for part in stages if part.split(":")[0].strip() in names))

    def lock(self) -> str:
        return (self.folder / "dvc.lock").read_text()


def runs_of(checkout: Checkout) -> list[Run]:
    client = mlflow.MlflowClient(f"sqlite:///{checkout.folder}/mlruns/mlflow.db")
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def survivors(checkout: Checkout) -> list[list[str]]:
    found = []
    for process in psutil.process_iter(["cwd", "cmdline"]):
        if process.info["cwd"] == str(checkout.folder):
            found.append(process.info["cmdline"])
    return found


def wait_until(happened: Callable[[], bool], flow: subprocess.Popen[bytes], log: Path, limit_s: float = 300) -> None:
    """Wait for something to happen while the flow runs; to ask takes a fifth of a core at most."""
    until, asked = time.monotonic() + limit_s, time.monotonic()
    while not happened():
        assert flow.poll() is None and time.monotonic() < until, log.read_text()[-4000:]
        time.sleep(max(0.05, 4 * (time.monotonic() - asked)))
        asked = time.monotonic()


SAME_COMMIT = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2026-01-02T03:04:05Z")
"""Checkouts of the same files have the same commit, which their pages name."""


@pytest.fixture(scope="session")
def new_checkout(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Checkout]:
    """Makes a checkout: the files that git would clone, with settings for a short run."""

    def make() -> Checkout:
        folder = tmp_path_factory.mktemp("checkout")
        # with bytecode, which is valid where times are equal; not what another process has not yet written whole
        unfinished = shutil.ignore_patterns("*.pyc.*")
        for name in ("flows", "components", "presets"):
            shutil.copytree(REPO / name, folder / name, ignore=unfinished)
        for name in (
            "dvc.yaml",
            "pyproject.toml",
            ".gitignore",
            ".dvcignore",
            "protocol.lock.yaml",
            "test_openings.csv",
        ):
            shutil.copy(REPO / name, folder / name)
        for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
            subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment(folder))
        shutil.copy(REPO / ".dvc" / "config", folder / ".dvc" / "config")
        checkout = Checkout(folder, tmp_path_factory.getbasetemp())
        checkout.use()
        for command in (["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "start"]):
            subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True, env=os.environ | SAME_COMMIT)
        return checkout

    return make


NAME = "Mustermann"
PEOPLE = (
    "dataset={kind: folder, path: data/raw/clinic, lesion_pattern: '_(l[0-9]+)_', patient_pattern: '^([A-Za-z0-9]+)_'}",
    "privacy.key=secret", "synthesize.lesions=0", "synthesize.unlabelled=0", "validate.max_missing_share=1",
    "validate.max_quarantined_share=0.1",
)  # fmt: skip


def write_patients(folder: Path) -> None:
    """Images of patients: names in the files' names, names and places inside the files, one broken file."""
    drawn = folder.parent / "drawn"
    draw_dataset(
        drawn, lesions=90, unlabelled=6, image_size=48, images_per_lesion=1.4, confounding=0.5, difficulty=0.4, seed=3
    )
    table = pd.read_csv(drawn / "metadata.csv", dtype="str", keep_default_na=False)
    lesions, patients = (pd.factorize(table[name])[0] for name in ("lesion_id", "patient_id"))
    for row, (lesion, patient) in enumerate(zip(lesions, patients, strict=True)):
        place = folder / (table["diagnosis"][row] or "unlabelled")
        place.mkdir(parents=True, exist_ok=True)
        with Image.open(drawn / table["path"][row]) as image:
            image.save(place / f"{NAME}{patient}_l{lesion}_{row}.jpg", quality=95, exif=describe_person(), comment=NAME)
    (folder / "nv" / f"{NAME}0_l0_broken.jpg").write_bytes(b"\xff\xd8\xff" + NAME.encode())
    shutil.rmtree(drawn)


def describe_person() -> Image.Exif:
    """EXIF with a person's name and a place, as cameras and archives write it."""
    exif = Image.Exif()
    exif[0x013B] = f"Erika {NAME}"  # Artist
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})  # GPS
    return exif
