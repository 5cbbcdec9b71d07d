"""Promotion on a real SQLite store: what passes is proposed and approved, and whatever fails changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow.tracking import MlflowClient
from ruamel.yaml import YAML

from components.base.errors import DataError, RunError
from components.base.log import SilentLog
from components.data.pixels import read_pixels, write_pixels
from components.deployment.bundle import open_bundle
from components.deployment.gates import Outcome
from components.deployment.promotion_record import hash_entry
from components.models.classifier_file import load_classifier
from components.models.encoder import embed, read_batches
from flows.promotion import transaction
from flows.promotion.decision import PAGE, approve, propose, roll_back
from flows.promotion.record import Record
from flows.promotion.transaction import State, change, promotions, read_state
from flows.registry.versions import register
from flows.settings import Settings, load_settings
from flows.tracking.mlflow_log import open_client
from tests.unit.comparison.simulated_study import FOLDERS, write_json
from tests.unit.deployment.bundled_study import make_bundle, rebuild
from tests.unit.flows.predicted_study import write_run
from tests.unit.training.small_trainings import BACKBONE, CLASSES, SIDE

NAME = "dermflow-demo"
LENIENT = {"recommended": True, "lesions": 2, "gap": 0.9, "accuracy": 0.99, "sensitivity": 0.99, "specificity": 0.99,
           "log_loss": 99.0, "approval": "person"}  # fmt: skip


RUNS = ("vae-frozen-1", "vae-frozen-0", "random-frozen-0")


def learn(root: Path, run: str) -> None:
    """Train the head of a run, so that it is better than chance."""
    classifier = load_classifier(root / FOLDERS["classifiers"] / f"{run}.safetensors", BACKBONE, CLASSES)
    pixels = read_pixels(root / FOLDERS["pixels"] / "train")
    features = embed(classifier.encoder, read_batches(pixels.take, np.arange(len(pixels))))
    (stage,) = classifier.head.standardisation.parts
    stage.running_mean.copy_(features.mean(0))
    stage.running_var.copy_(features.var(0) + 1e-6)
    inputs, labels = classifier.head.standardisation(features).detach(), torch.as_tensor(pixels.labels(CLASSES))
    layers = torch.nn.Sequential(*list(classifier.head)[1:])
    optimiser = torch.optim.Adam(layers.parameters(), lr=0.02)
    for _ in range(200):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(layers(inputs), labels).backward()
        optimiser.step()
    write_run(root, run, classifier.eval())


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Path:
    """A checkout with three registered bundles of one study, of which none is in use."""
    root = tmp_path_factory.mktemp("promotion")
    for name in ("params.yaml", "requirements.lock"):
        (root / name).write_text((repo / name).read_text())
    make_bundle(root)
    for run in RUNS:
        learn(root, run)
    for run in (root / FOLDERS["metrics"] / "finetune").glob("*.json"):
        write_json(run, json.loads(run.read_text()) | {"best": {"gap/loss": 0.1}})
    write_json(root / FOLDERS["metrics"] / "validation.json", {"expectations": {"rows": {"success": True}}})
    write_settings(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        settings, client = load_settings(), open_client()
        for run in RUNS:
            recommend(root, run)
            rebuild(root)
            register(client, open_bundle(root / FOLDERS["bundle"]), settings)
    return root


def recommend(root: Path, run: str) -> None:
    path = root / FOLDERS["reports"] / "comparison.json"
    content = json.loads(path.read_text())
    write_json(path, content | {"recommendation": content["recommendation"] | {"run": run}})


def write_settings(root: Path, **changes: object) -> None:
    """The demo's settings on the small study, with gates that it passes."""
    values = YAML(typ="safe").load((root / "params.yaml").read_text())
    values["paths"] = {name: str(path) for name, path in FOLDERS.items()}
    values["labels"] = {"scheme": "three", "schemes": {"three": {name: [name] for name in CLASSES}}}
    values["clinical"] |= {"malignant": [CLASSES[1]], "severity": None, "costs": None}
    values["pack"] = {"image_size": SIDE, "fit": "crop"}
    values["compare"] |= {"resamples": 100}
    values["promotion"] = LENIENT | changes
    with (root / "params.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(values, file)


@pytest.fixture
def checkout(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, whose database is brought to its place as after a move."""
    root = tmp_path / "checkout"
    shutil.copytree(original, root)
    monkeypatch.chdir(root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return root


@pytest.fixture
def client(checkout: Path) -> MlflowClient:
    return open_client()


@pytest.fixture
def settings(checkout: Path) -> Settings:
    return load_settings()


def suggest(client: MlflowClient, settings: Settings, number: int) -> Any:
    return propose(client, client.get_model_version(NAME, str(number)), settings, SilentLog())


def promote(client: MlflowClient, settings: Settings, number: int) -> None:
    assert suggest(client, settings, number).outcome is Outcome.PASSED
    approve(client, settings, str(number))


def aliases(client: MlflowClient) -> tuple[str | None, str | None]:
    state = read_state(client, NAME)
    return state.champion, state.previous


def test_a_model_is_proposed_approved_replaced_and_brought_back(
    client: MlflowClient, settings: Settings, checkout: Path
) -> None:
    first = suggest(client, settings, 1)
    assert (first.outcome, first.champion, first.promoted) == (Outcome.PASSED, None, False)
    assert aliases(client) == (None, None)
    assert approve(client, settings, "1") == ""
    assert aliases(client) == ("1", None)
    promote(client, settings, 2)
    assert aliases(client) == ("2", "1")
    assert roll_back(client, settings) == ("1", "2")
    assert aliases(client) == ("1", "2")
    entries = Record.read().entries
    assert [each["kind"] for each in entries] == ["proposed", "promoted", "proposed", "promoted", "rolled back"]
    assert [each["version"] for each in entries] == ["1", "1", "2", "2", "1"]
    assert entries[3]["bundle"] == client.get_model_version(NAME, "2").tags["bundle"]
    assert {gate["name"] for gate in entries[2]["gates"]} >= {"balanced accuracy", f"sensitivity for {CLASSES[1]}"}
    assert entries[0]["who"]["user"]
    assert entries[0]["when"].endswith("+00:00")
    assert read_state(client, NAME).head == hash_entry(entries[4])
    html = (checkout / FOLDERS["reports"] / PAGE).read_text()
    assert "May version 2 replace version 1?" in html
    assert "vae-frozen-0" in html


def test_what_passes_is_promoted_at_once_where_approval_is_automatic(client: MlflowClient, checkout: Path) -> None:
    write_settings(checkout, approval="automatic")
    assert suggest(client, load_settings(), 1).promoted
    assert aliases(client) == ("1", None)
    assert Record.read().entries[-1]["approval"] == "automatic"


@pytest.mark.parametrize(
    ("changes", "outcome"), [({"lesions": 10}, Outcome.UNDECIDED), ({"gap": 0.05}, Outcome.FAILED)]
)
def test_what_does_not_pass_cannot_be_approved(
    client: MlflowClient, checkout: Path, changes: dict[str, object], outcome: Outcome
) -> None:
    write_settings(checkout, **{"approval": "automatic"} | changes)
    settings = load_settings()
    found = suggest(client, settings, 1)
    assert (found.outcome, found.promoted) == (outcome, False)
    with pytest.raises(RunError, match=rf"its proposal says '{outcome.value}' \(.*\), expected 'passed'"):
        approve(client, settings, "1")
    assert aliases(client) == (None, None)
    assert [each["kind"] for each in Record.read().entries] == ["proposed"]


def test_only_a_proposal_against_the_present_champion_is_approved(client: MlflowClient, settings: Settings) -> None:
    with pytest.raises(RunError, match=r"models:/dermflow-demo/1: was not proposed; `dermflow promote --candidate 1`"):
        approve(client, settings, "1")
    suggest(client, settings, 2)
    promote(client, settings, 1)
    with pytest.raises(RunError, match="was compared with version None, but the champion is 1: propose it again"):
        approve(client, settings, "2")
    with pytest.raises(RunError, match="is the champion already"):
        suggest(client, settings, 1)
    with pytest.raises(RunError, match="has no version with the alias previous"):
        roll_back(client, settings)
    assert aliases(client) == ("1", None)


STEPS = (
    "set_registered_model_alias 1",
    "set_registered_model_alias 2",
    "set_registered_model_tag 1",
    "append",
    "fsync",
)


@pytest.fixture(params=STEPS)
def failing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Makes one step of the change fail from now on: the Nth call of a method, and only that one."""
    name, _, number = request.param.partition(" ")

    def begin() -> None:
        owner: Any = {"append": Record, "fsync": __import__("os")}.get(name, MlflowClient)
        real, calls = getattr(owner, name), []

        def fail(*arguments: object, **named: object) -> object:
            calls.append(arguments)
            if len(calls) == int(number or 1):
                raise OSError("injected")
            return real(*arguments, **named)

        monkeypatch.setattr(owner, name, fail)

    return begin


def test_a_step_that_fails_leaves_aliases_tag_and_record_as_they_were(
    client: MlflowClient, settings: Settings, failing: Callable[[], None], checkout: Path
) -> None:
    promote(client, settings, 1)
    promote(client, settings, 2)
    suggest(client, settings, 3)
    record = checkout / "mlruns" / "promotions.jsonl"
    before, lines = read_state(client, NAME), record.read_bytes()
    failing()
    with pytest.raises(OSError, match="injected"):
        approve(client, settings, "3")
    assert read_state(client, NAME) == before == State("2", "1", before.head)
    assert record.read_bytes() == lines
    assert not (checkout / "mlruns" / transaction.BEGUN).exists()
    approve(client, settings, "3")
    assert aliases(client) == ("3", "2")


class Killed(BaseException):
    """Stands for a process that ends without any clean-up."""


@pytest.mark.parametrize("step", ["set_registered_model_alias", "set_registered_model_tag", "half a line", "end"])
def test_after_a_killed_process_the_next_command_restores_or_completes(
    client: MlflowClient, settings: Settings, checkout: Path, step: str
) -> None:
    promote(client, settings, 1)
    suggest(client, settings, 2)
    before = read_state(client, NAME)
    with promotions(client, NAME) as record:
        entry = record.next("promoted", {"model": NAME, "version": "2"})
        with pytest.MonkeyPatch.context() as patch:
            kill(patch, step, record)
            with pytest.raises(Killed):
                change(client, NAME, record, entry, State("2", "1", None))
    with promotions(client, NAME) as record:
        done = len(record.entries)
    expected = State("2", "1", hash_entry(entry)) if step == "end" else before
    assert (read_state(client, NAME), done) == (expected, 4 if step == "end" else 3)


def kill(patch: pytest.MonkeyPatch, step: str, record: Record) -> None:
    """End the change at a step, and keep its clean-up from running."""

    def stop(*arguments: object, **named: object) -> None:
        raise Killed

    patch.setattr(transaction, "_restore", stop)
    if step == "half a line":

        def write_half(self: Record, entry: dict[str, Any]) -> None:
            with self.path.open("a") as file:
                file.write(json.dumps(entry)[:20])
            raise Killed

        patch.setattr(Record, "append", write_half)
    elif step == "end":
        real = Record.append

        def write_all(self: Record, entry: dict[str, Any]) -> None:
            real(self, entry)
            raise Killed

        patch.setattr(Record, "append", write_all)
    else:
        patch.setattr(MlflowClient, step, stop)


def test_a_record_that_was_changed_stops_every_promotion(
    client: MlflowClient, settings: Settings, checkout: Path
) -> None:
    promote(client, settings, 1)
    suggest(client, settings, 2)
    record = checkout / "mlruns" / "promotions.jsonl"
    whole = record.read_text()
    record.write_text(whole.replace('"version": "1"', '"version": "2"', 1))
    with pytest.raises(DataError, match=r"promotions.jsonl, line 2: .* was changed or removed"):
        approve(client, settings, "2")
    record.write_text("".join(whole.splitlines(keepends=True)[:1]))
    with pytest.raises(DataError, match=r"lacks the entry .* that MLflow names: lines were removed"):
        suggest(client, settings, 2)
    assert aliases(client) == ("1", None)
    record.write_text(whole)
    approve(client, settings, "2")


def test_lesions_that_the_champion_was_trained_on_are_left_out(
    client: MlflowClient, settings: Settings, checkout: Path
) -> None:
    promote(client, settings, 1)
    test, train = (checkout / FOLDERS["pixels"] / name for name in ("test", "train"))
    held, learned = read_pixels(test), read_pixels(train).index
    index = held.index.drop(columns="crc32")
    index.loc[index["group"] == "test-0", "lesion_id"] = learned["lesion_id"].iloc[0]
    write_pixels(test, held.take(range(len(held))), index, SIDE)
    suggest(client, settings, 2)
    gate = Record.read().entries[-1]["gates"][0]
    assert "1 left out, which a model was trained on" in gate["found"]
    write_pixels(test, held.take(range(len(held))), index.assign(lesion_id=learned["lesion_id"].iloc[0]), SIDE)
    with pytest.raises(RunError, match="was trained on every test lesion, so there is nothing to compare"):
        suggest(client, settings, 2)


def test_a_bundle_for_other_pixels_is_not_compared(client: MlflowClient, settings: Settings) -> None:
    other = settings.model_copy(update={"pack": settings.pack.model_copy(update={"fit": "pad"})})
    with pytest.raises(RunError, match=r"has pack.fit crop, here pad: it cannot be compared"):
        suggest(client, other, 1)


def test_a_second_promotion_at_the_same_time_is_refused(client: MlflowClient, settings: Settings) -> None:
    with promotions(client, NAME), pytest.raises(RunError, match="another promotion is under way"):
        suggest(client, settings, 1)


@pytest.mark.thorough
def test_the_flow_proposes_this_checkouts_bundle_and_prints_the_gates(client: MlflowClient, checkout: Path) -> None:
    """`dermflow promote` with a server of Prefect; then a person's approval and a rollback that is not possible."""
    environment = {**os.environ, "PREFECT_HOME": str(checkout / "prefect"), "PREFECT_API_URL": "", "COLUMNS": "160"}

    def command(arguments: str) -> subprocess.CompletedProcess[str]:
        code = f"import sys; from flows.commands.promote import promote; sys.exit(not promote({arguments}, print))"
        return subprocess.run(
            [sys.executable, "-c", code], cwd=checkout, env=environment, capture_output=True, text=True, check=False
        )

    proposed = command("None, None, False")
    assert proposed.returncode == 0, proposed.stderr[-3000:]
    assert "models:/dermflow-demo/3: was registered already" in proposed.stdout + proposed.stderr
    assert "models:/dermflow-demo/3 against no champion:" in proposed.stdout
    rows = [line for line in proposed.stdout.splitlines() if "passed" in line and "balanced accuracy" in line]
    assert len(rows) == 1
    assert "`dermflow promote --approve 3` makes it the champion" in proposed.stdout
    approved = command("None, '3', False")
    assert "models:/dermflow-demo@champion is version 3" in approved.stdout, approved.stderr[-3000:]
    assert aliases(client) == ("3", None)
    assert "has no version with the alias previous" in command("None, None, True").stderr
    write_settings(checkout, gap=0.05)
    assert "nothing is promoted" in command("'1', None, False").stdout
