"""Three weeks of a study in service, compressed: new data, scheduled runs, a better model, a worse one, a way back."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest
from ruamel.yaml import YAML

from components.deployment.promotion_record import check_head, read_entries
from components.synthetic.dataset import draw_dataset
from flows.orchestration.graph import read_graph, upstream_of
from flows.promotion.transaction import HEAD
from tests.pipeline.conftest import REPO, Checkout, wait_until
from tests.pipeline.test_schedule import free_port, started

pytestmark = [
    pytest.mark.slow,
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning"),  # of DVC 3.67 with pygtrie
]

DATA = "data/raw/clinic"
NAME = "dermflow-demo"
SETTINGS = (
    f"dataset.path={DATA}", "synthesize.lesions=0", "synthesize.unlabelled=0", "labels.scheme=malignancy",
    "validate.max_quarantined_share=0.1", "bundle.components=4", "clinical.severity=null", "clinical.costs=null",
    "promotion={approval: person, recommended: false, lesions: 5, gap: 2.0, accuracy: 0.3, sensitivity: 0.3, "
    "specificity: 0.3, log_loss: 0.3}",
)  # fmt: skip
BRIEF = "finetune.frozen={epochs: 2, learning_rate: 0.002}"
LONG = "finetune.frozen={epochs: 12, learning_rate: 0.004}"
NONE = "finetune.frozen={epochs: 1, learning_rate: 0.000000001}"
RUN_ONCE = """
from flows.nightly import nightly
from flows.orchestration.prefect_server import server_of_one_run
from prefect.client.orchestration import get_client
with server_of_one_run():
    nightly()
    with get_client(sync_client=True) as client:
        print("REPORT", client._client.post("/artifacts/latest/filter", json={}).text)
"""


class Clinic:
    """A folder outside the checkout, from which DVC imports the images."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.drawn = folder, folder.parent / "drawn"
        draw_dataset(
            self.drawn, lesions=160, unlabelled=0, image_size=48, images_per_lesion=1.3, confounding=0.0,
            difficulty=0.0, seed=5,
        )  # fmt: skip
        self.table = pd.read_csv(self.drawn / "metadata.csv", dtype="str", keep_default_na=False)

    def deliver(self, patients: float, broken: bool = False) -> pd.DataFrame:
        """The images of a share of all patients; with one more that is cut off."""
        names = sorted(set(self.table["patient_id"]))
        rows = self.table[self.table["patient_id"].isin(names[: round(patients * len(names))])]
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "images").mkdir(parents=True)
        for path in rows["path"]:
            shutil.copy(self.drawn / path, self.folder / path)
        if broken:
            last = rows.iloc[-1]
            extra = last.to_dict() | {"image_id": "cut", "path": "images/cut.png", "lesion_id": "cut"}
            content = (self.drawn / last["path"]).read_bytes()
            (self.folder / "images" / "cut.png").write_bytes(content[: len(content) // 2])
            rows = pd.concat([rows, pd.DataFrame([extra])], ignore_index=True)
        rows.to_csv(self.folder / "metadata.csv", index=False)
        return rows


@pytest.fixture
def checkout(new_checkout: Callable[[], Checkout]) -> Checkout:
    """A checkout with the stages that the bundle needs."""
    made = new_checkout()
    shutil.copy(REPO / "requirements.lock", made.folder)
    nodes = read_graph(made.folder)
    (bundle,) = [node for node in nodes if node.kind == "bundle"]
    kinds = {node.split("@")[0] for node in upstream_of(nodes, bundle)}
    made.keep_stages(*(name for name in YAML(typ="safe").load((made.folder / "dvc.yaml").read_text())["stages"]
                       if name in kinds))  # fmt: skip
    return made


def read_json(checkout: Checkout, path: str) -> Any:
    return json.loads((checkout.folder / path).read_text())


def state(checkout: Checkout) -> tuple[str | None, str | None]:
    """Versions with the aliases champion and previous."""
    client = mlflow.MlflowClient(f"sqlite:///{checkout.folder}/mlruns/mlflow.db")
    found = {alias: str(version) for alias, version in client.get_registered_model(NAME).aliases.items()}
    return found.get("champion"), found.get("previous")


def entries(checkout: Checkout) -> list[Any]:
    """The record, whose chain is verified, and whose end is the one that MLflow names."""
    record = checkout.folder / "mlruns" / "promotions.jsonl"
    found = list(read_entries(record.read_text(), str(record)))
    client = mlflow.MlflowClient(f"sqlite:///{checkout.folder}/mlruns/mlflow.db")
    check_head(found, client.get_registered_model(NAME).tags.get(HEAD), str(record))
    return found


def run_night(checkout: Checkout) -> str:
    """One run of the flow in a process of its own; the text of its report."""
    done = checkout.run("-c", RUN_ONCE)
    return report_in(json.loads(done.stdout.split("REPORT ", 1)[1]))


def report_in(artifacts: list[dict[str, Any]]) -> str:
    (report,) = [each["data"] for each in artifacts if each["key"] == "dermflow-nightly"]
    return str(report)


def run_scheduled_night(checkout: Checkout, log: Path) -> str:
    """The next run that `dermflow schedule` starts."""
    import httpx

    port = free_port()
    words = ("-m", "flows.commands.cli", "schedule", "--cron", "* * * * *", "--port", str(port))

    def ask(kind: str) -> list[dict[str, Any]]:
        login = (checkout.folder / ".dvc/tmp/dermflow/prefect-login").read_text().strip()
        user, _, password = login.partition(":")
        answer = httpx.post(f"http://127.0.0.1:{port}/api/{kind}/filter", json={}, auth=(user, password), timeout=30)
        return list(answer.json())

    def has_ended() -> bool:
        if not (checkout.folder / ".dvc/tmp/dermflow/prefect-login").exists():
            return False
        try:
            runs = [run for run in ask("flow_runs") if run["deployment_id"]]
        except httpx.TransportError:
            return False
        assert "FAILED" not in [run["state_type"] for run in runs], log.read_text()[-6000:]
        return "COMPLETED" in [run["state_type"] for run in runs]

    with started(checkout, *words, output=log) as serving:
        wait_until(has_ended, serving, log, limit_s=1500)
        return report_in(ask("artifacts/latest"))


def cli(checkout: Checkout, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return checkout.run("-m", "flows.commands.cli", *words, check=check)


def test_three_weeks_of_new_data_promotion_refusal_and_rollback(checkout: Checkout, tmp_path: Path) -> None:
    clinic = Clinic(tmp_path / "clinic")
    # week 1: the first model, from little training
    first = clinic.deliver(0.7)
    checkout.run("-m", "dvc", "remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    (checkout.folder / "data/raw").mkdir(parents=True, exist_ok=True)
    checkout.run("-m", "dvc", "import-url", "-q", str(clinic.folder), DATA)
    checkout.use(*SETTINGS, BRIEF)
    report = run_night(checkout)
    assert "# demo: the first finished run" in report
    assert "Version 1 was compared with no champion: **passed**." in report, report
    assert "`dermflow promote --approve 1`" in report and report.rstrip().endswith("No model is in use.")
    assert state(checkout) == (None, None)  # nobody has approved
    cli(checkout, "promote", "--approve", "1")
    assert state(checkout) == ("1", None)
    cli(checkout, "data", "keep-split")
    kept = pd.read_csv(checkout.folder / "data/kept_split.csv").set_index("image_id")["home"]

    # week 2: more data, one file of them cut off; longer training; the scheduler starts the run
    second = clinic.deliver(1.0, broken=True)
    keep = YAML(typ="safe").load((checkout.folder / "params.yaml").read_text())["split"]["keep"]
    hold = f"split.keep={json.dumps(keep)}"
    checkout.use(*SETTINGS, LONG, hold)
    report = run_scheduled_night(checkout, tmp_path / "schedule.log")
    quarantine = pd.read_csv(checkout.folder / "data/quarantine.csv")
    assert quarantine["image_id"].tolist() == ["cut"] and quarantine["rule"].iloc[0].startswith("image.")
    assert read_json(checkout, "metrics/validation.json")["accepted"] == len(second) - 1
    split = pd.read_csv(checkout.folder / "data/split.csv").set_index("image_id")["split"]
    assert (split[kept.index] == kept).all() and len(split) > len(kept)
    added = len(second) - len(first)  # with the one that is quarantined
    assert sum(int(line.split("|")[2]) for line in report.splitlines() if line.startswith(("| benign", "| malignant"))
               ) == added, report  # fmt: skip
    assert "kept split: " in report
    assert "Version 2 was compared with the champion, version 1: **passed**." in report, report
    assert "No changes: models:/dermflow-demo@champion is version 1." in report
    assert state(checkout) == ("1", None)
    cli(checkout, "promote", "--approve", "2")
    assert state(checkout) == ("2", "1")

    # a run that changes nothing proposes nothing
    report = run_night(checkout)
    assert "Nothing is proposed: the model of this run is version 2, which is in use." in report
    assert len(entries(checkout)) == 4

    # week 3: a model that has learned nothing is refused, though approval is automatic
    automatic = (word.replace("approval: person", "approval: automatic") for word in SETTINGS)
    checkout.use(*automatic, NONE, hold)
    report = run_night(checkout)
    assert "Version 3 was compared with the champion, version 2: **failed**. Nothing is promoted." in report, report
    assert "| balanced accuracy |" in report and "FAILED" in report
    refused = cli(checkout, "promote", "--approve", "3", check=False)
    assert refused.returncode == 1 and "its proposal says 'failed'" in refused.stderr
    assert state(checkout) == ("2", "1")

    # the model in use turns out to be wrong for the clinic
    cli(checkout, "promote", "--rollback")
    assert state(checkout) == ("1", "2")
    found = entries(checkout)
    assert [(each["kind"], each["version"]) for each in found] == [
        ("proposed", "1"), ("promoted", "1"), ("proposed", "2"), ("promoted", "2"), ("proposed", "3"),
        ("rolled back", "1"),
    ]  # fmt: skip
    assert [each["approval"] for each in found if each["kind"] == "promoted"] == ["person", "person"]
