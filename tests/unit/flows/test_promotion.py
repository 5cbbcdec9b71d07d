"""Promotion on a real SQLite store: what passes is proposed and approved, and whatever fails changes nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from mlflow.tracking import MlflowClient

from components.base.errors import DataError, RunError
from components.base.log import SilentLog
from components.data.pixels import read_pixels, write_pixels
from components.deployment.bundle import open_bundle
from components.deployment.gates import Outcome
from components.deployment.predictor import Predictor
from components.deployment.promotion_record import hash_entry
from flows import nightly
from flows.nightly import propose_bundle
from flows.prediction.models import find_bundle
from flows.promotion import transaction
from flows.promotion.decision import PAGE, approve, propose, roll_back
from flows.promotion.record import Record
from flows.promotion.transaction import State, change, promotions, read_state
from flows.registry.versions import find_version
from flows.serving.app import Limits, make_app
from flows.serving.server import watch
from flows.settings import Settings, load_settings
from flows.tracking.mlflow_log import open_client
from tests.unit.comparison.simulated_study import FOLDERS
from tests.unit.flows.promotable_study import NAME, make_study, write_settings
from tests.unit.flows.test_serving import wait_for
from tests.unit.training.small_trainings import CLASSES, SIDE


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Path:
    root = tmp_path_factory.mktemp("promotion")
    make_study(root, repo)
    return root


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


def test_a_server_follows_the_champion(client: MlflowClient, settings: Settings, checkout: Path) -> None:
    promote(client, settings, 1)
    find, load = partial(find_bundle, "dermflow-demo", checkout), partial(Predictor.open, device="cpu")
    app = make_app(load(find()), limits=Limits(), hosts=["testserver"], threads=1)
    stop, lines = threading.Event(), list[str]()
    given = (app, find().sha256, find, load, stop, lines.append, 0.05)
    watcher = threading.Thread(target=watch, args=given)
    with TestClient(app) as served:
        assert served.get("/health").json()["run"] == "vae-frozen-1"
        watcher.start()
        promote(client, settings, 2)
        wait_for(lambda: served.get("/health").json()["run"] == "vae-frozen-0")
        roll_back(client, settings)
        wait_for(lambda: served.get("/health").json()["run"] == "vae-frozen-1")
        stop.set()
        watcher.join()
    assert [line.split(",")[0] for line in lines] == [f"now answers with vae-frozen-{seed}" for seed in (0, 1)]


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


# --- what a scheduled run proposes


def test_without_a_bundle_nothing_is_proposed(settings: Settings, tmp_path: Path) -> None:
    paths = settings.paths.model_copy(update={"bundle": tmp_path / "none"})
    (line,) = propose_bundle(settings.model_copy(update={"paths": paths}), State(None, None, None))
    assert line == f"Nothing is proposed: no stage has made {tmp_path / 'none'}."


def test_a_model_that_was_proposed_or_is_in_use_is_not_proposed_again(
    client: MlflowClient,
    settings: Settings,
) -> None:
    version = find_version(client, NAME, open_bundle(settings.paths.bundle).sha256)
    assert version is not None
    number = str(version.version)
    suggest(client, settings, int(number))
    (line,) = propose_bundle(settings, read_state(client, NAME))
    assert f"version {number}, which was compared with no champion on 2" in line and ": passed." in line
    assert line.endswith(f"with `dermflow promote --approve {number}`; until then nothing changes.")
    approve(client, settings, number)
    (line,) = propose_bundle(settings, read_state(client, NAME))
    assert line == f"Nothing is proposed: the model of this run is version {number}, which is in use."


def test_a_model_is_judged_again_where_the_gates_were_changed(
    client: MlflowClient, settings: Settings, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = find_version(client, NAME, open_bundle(settings.paths.bundle).sha256)
    assert version is not None
    suggest(client, settings, int(version.version))
    write_settings(checkout, gap=0.05)
    changed = load_settings()
    monkeypatch.setattr(nightly, "promotion", lambda: suggest(client, changed, int(version.version)))  # without Prefect
    assert "**failed**" in propose_bundle(changed, read_state(client, NAME))[0]
    assert [entry["promotion"]["gap"] for entry in Record.read().entries] == [settings.promotion.gap, 0.05]
    (line,) = propose_bundle(changed, read_state(client, NAME))
    assert line.startswith("Nothing new is proposed") and ": failed." in line


def test_a_report_that_cannot_be_made_leaves_an_event(
    client: MlflowClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Exception] = []
    monkeypatch.setattr(nightly, "pipeline", lambda *_: "nothing changed")  # all stages at once take minutes
    monkeypatch.setattr(nightly, "emit_failure", events.append)
    settings.paths.metrics.mkdir(parents=True, exist_ok=True)
    (settings.paths.metrics / "split.json").write_text("no JSON")
    with pytest.raises(DataError, match=r"split\.json: cannot be read") as raised:
        nightly.nightly.fn(propose=False)
    assert events == [raised.value]
