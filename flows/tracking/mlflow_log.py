"""MLflow remembers: one experiment a study, a parent run a pipeline run, a child a stage run, and how each ended."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import FileLock
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from flows.settings import Settings
from flows.tracking.environment import keep_origin
from flows.tracking.lineage import lineage_tags, recorded_hashes
from flows.tracking.resumed_runs import TAG, Training, points_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MLRUNS = Path("mlruns")
PARENT_VARIABLE = "DERMFLOW_PARENT_RUN"
FLOW_VARIABLE = "DERMFLOW_FLOW_RUN"
PIPELINE = "pipeline"  # the tag `stage` of a run that is all stages
T = TypeVar("T")


def tracking_uri() -> str:
    """The database in mlruns/ unless MLFLOW_TRACKING_URI names a server; absolute, as MLflow resolves it late."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{MLRUNS.resolve()}/mlflow.db"


def open_client() -> MlflowClient:
    """A client on a database that exists: processes that create one at the same time crash each other."""
    uri = tracking_uri()
    if not uri.startswith("sqlite"):
        return MlflowClient(uri)
    MLRUNS.mkdir(exist_ok=True)
    with FileLock(MLRUNS / ".lock"):
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    return client


def open_experiment(client: MlflowClient, name: str) -> str:
    """The experiment's id; made where it is missing, with its artifacts beside the database."""
    MLRUNS.mkdir(exist_ok=True)
    with FileLock(MLRUNS / ".lock"):
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        local = tracking_uri().startswith("sqlite")
        place = (MLRUNS / "artifacts").resolve().as_uri() if local else None
        kind = {"mlflow.experimentKind": "custom_model_development"}  # else its page is that of a chat application
        return str(client.create_experiment(name, artifact_location=place, tags=kind))


class RunLog:
    """One MLflow run as a `components.base.log.Log`: metrics go out in batches, words go to the terminal.

    A name has one point a step: MLflow would keep a second beside it, as after a training that went on.
    """

    def __init__(self, client: MlflowClient, run_id: str, name: str, before: Run | None = None) -> None:
        self.client, self.run_id, self.name = client, run_id, name
        self._waiting: list[Metric] = []
        self._told = points_of(client, before) if before else set()
        self._params = dict(before.data.params) if before else {}

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Buffered: `log_metric` costs 4 to 13 ms each, a batch 0.1 ms a metric."""
        now = int(time.time() * 1000)
        points = [Metric(_metric_name(key), float(value), now, step or 0) for key, value in values.items()]
        self._waiting += [point for point in points if (point.key, point.step) not in self._told]
        self._told |= {(point.key, point.step) for point in points}
        if len(self._waiting) >= 100 or step is not None:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        for start in range(0, len(self._waiting), 1000):  # MLflow's limit a batch
            self.client.log_batch(self.run_id, metrics=self._waiting[start : start + 1000])
        self._waiting = []

    def figure(self, name: str, figure: Figure) -> None:
        """A picture among the run's artifacts."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            figure.savefig(path, dpi=120, bbox_inches="tight")
            self.client.log_artifact(self.run_id, str(path), "figures")

    def artifact(self, path: Path, folder: str = "") -> None:
        """A file or a folder as it stands now."""
        if path.is_dir():
            self.client.log_artifacts(self.run_id, str(path), folder or path.name)
        elif path.exists():
            self.client.log_artifact(self.run_id, str(path), folder or None)

    def tags(self, values: Mapping[str, str]) -> None:
        """Words about the run."""
        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in values.items()])

    def settings(self, values: Mapping[str, object]) -> None:
        """The settings that the run was made with, dotted as in params.yaml; a tag where it began with another."""
        given = {key: str(value)[:6000] for key, value in flatten(values, ".").items()}
        params = [Param(key, value) for key, value in given.items() if key not in self._params]
        for start in range(0, len(params), 100):  # MLflow's limit a batch
            self.client.log_batch(self.run_id, params=params[start : start + 100])
        self.tags({key: value for key, value in given.items() if self._params.get(key, value) != value})

    def line(self, text: str) -> None:
        """One line to the terminal and the flow's log."""
        print(f"{self.name}: {text}", flush=True)  # noqa: T201  # the stage's voice is its stdout

    def track(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        """A bar on a terminal, else a line at most every ten seconds."""
        if sys.stderr.isatty():
            yield from _bar(items, total, f"{self.name}: {what}")
        else:
            yield from self._lines(items, total, what)

    def _lines(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        began = told = time.monotonic()
        for done, item in enumerate(items):
            now = time.monotonic()
            if now - told >= 10 and done:
                rate = done / (now - began)
                self.line(f"{what} {done}/{total}, {rate:.3g}/s, {(total - done) / rate:.0f} s left")
                told = now
            yield item


def _metric_name(key: str) -> str:
    """MLflow takes letters, digits and these signs in a metric's name, and refuses a whole batch for another."""
    return re.sub(r"[^\w\-. :/]", "", key)


def _bar(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, total=total, description=what)


def flatten(values: Mapping[str, Any], joint: str) -> dict[str, Any]:
    """Nested mappings as one, keys joined: {'a': {'b': 1}} -> {'a/b': 1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        inner = flatten(value, joint) if isinstance(value, Mapping) else None
        flat.update({key: value} if inner is None else {f"{key}{joint}{name}": leaf for name, leaf in inner.items()})
    return flat


@contextmanager
def recorded_run(
    settings: Settings, name: str, tags: Mapping[str, str], training: Training | None = None
) -> Iterator[RunLog]:
    """A run from start to end; its status is FINISHED, FAILED or KILLED as it really ended.

    A `training` that an earlier process began goes on in that one's run.
    """
    client = open_client()
    log = _open(client, settings, name, tags, training)
    try:
        log_dataset(client, log.run_id, settings)
        log.tags(keep_origin(client, log.run_id, settings))
        yield log
        log.flush()
    except BaseException as error:
        log.flush()
        stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
        log.tags({"error": _shareable(error, settings)})
        client.set_terminated(log.run_id, "KILLED" if stopped else "FAILED")
        raise
    client.set_terminated(log.run_id, "FINISHED")


def _shareable(error: BaseException, settings: Settings) -> str:
    """What MLflow may know: a message can name a file, and the name of a file of one's own can name a person."""
    kind = type(error).__name__
    return f"{kind}: {error}"[:4000] if settings.privacy.key == "public" else f"{kind}: its message stays on the host"


def _open(
    client: MlflowClient, settings: Settings, name: str, tags: Mapping[str, str], training: Training | None
) -> RunLog:
    if training is None:
        return RunLog(client, _create(client, settings, name, tags), name)
    experiment = open_experiment(client, settings.study.name)
    before = training.find_run(client, experiment)
    if before is not None:
        return _go_on(client, before, settings, name, tags)
    marked = {**tags, TAG: training.begin(client, experiment)}
    return RunLog(client, _create(client, settings, name, marked), name)


def _go_on(client: MlflowClient, before: Run, settings: Settings, name: str, tags: Mapping[str, str]) -> RunLog:
    """The run of a process that ended before its work was done, as a child of the present flow if there is one."""
    run_id = before.info.run_id
    client.update_run(run_id, "RUNNING")
    if "error" in before.data.tags:
        client.delete_tag(run_id, "error")
    log = RunLog(client, run_id, name, before)
    resumed = int(before.data.tags.get("resumed", "0")) + 1
    log.tags({**_words(settings), **tags, "resumed": str(resumed)})
    log.line(f"going on with MLflow run {run_id}")
    return log


def _words(settings: Settings) -> dict[str, str]:
    """Study, lineage, and the flow that this process belongs to."""
    parent = os.environ.get(PARENT_VARIABLE)
    family = {"mlflow.parentRunId": parent, "prefect.flow_run": os.environ.get(FLOW_VARIABLE)}
    known = {key: value for key, value in family.items() if value}
    return {"study": settings.study.name, **lineage_tags(settings), **known}


def _create(client: MlflowClient, settings: Settings, name: str, tags: Mapping[str, str]) -> str:
    experiment = open_experiment(client, settings.study.name)
    words = {**_words(settings), **tags}
    return str(client.create_run(experiment, run_name=name, tags=words).info.run_id)


def log_dataset(client: MlflowClient, run_id: str, settings: Settings) -> None:
    """The data set as the run's input, once, with DVC's digest; nothing before ingest has recorded one."""
    digest = recorded_hashes().get(str(settings.dataset.path))
    known = client.get_run(run_id).inputs
    if digest is None or (known and known.dataset_inputs):
        return
    source = json.dumps({"uri": str(settings.dataset.path)})
    dataset = Dataset(settings.dataset.kind, digest[:36], "local", source)  # 36 characters are MLflow's limit
    client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def end_orphans(parent: RunLog) -> None:
    """Mark children that still say RUNNING as KILLED: their processes ended without a word."""
    experiment = parent.client.get_run(parent.run_id).info.experiment_id
    query = f"tags.mlflow.parentRunId = '{parent.run_id}' and attributes.status = 'RUNNING'"
    for run in parent.client.search_runs([experiment], query):
        parent.client.set_terminated(run.info.run_id, "KILLED")


def end_dead_flows(client: MlflowClient, checkout: str) -> list[str]:
    """Mark pipeline runs of a checkout that no process holds, and their stages, as KILLED; return what they were.

    A training keeps its word: the process that goes on with it finds it by its status (`continuity`).
    """
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    query = f"tags.stage = '{PIPELINE}' and tags.checkout = '{checkout}' and attributes.status = 'RUNNING'"
    dead = list(client.search_runs(experiments, query))
    for flow in dead:
        below = f"tags.mlflow.parentRunId = '{flow.info.run_id}' and attributes.status = 'RUNNING'"
        children = [run for run in client.search_runs(experiments, below) if TAG not in run.data.tags]
        for run in [*children, flow]:
            client.set_tag(run.info.run_id, "error", "its process ended without a word, as after kill -9")
            client.set_terminated(run.info.run_id, "KILLED")
    return [f"{flow.info.run_name} ({flow.info.run_id})" for flow in dead]
