"""MLflow records of runs: one experiment per study, one parent run per pipeline run, one child run per stage.

Each run closes with the status that it really had: FINISHED, FAILED or KILLED.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock
from mlflow.entities import Experiment, LifecycleStage, Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from components.base.errors import RunError
from components.base.keys import as_key, flat_keys
from flows.settings import Settings
from flows.tracking.checkout import real_root
from flows.tracking.environment import log_environment
from flows.tracking.git import find_commit
from flows.tracking.inputs import log_inputs
from flows.tracking.lineage import lineage_tags
from flows.tracking.resumed_runs import TRAINING_TAG, ResumableRun, logged_points
from flows.tracking.services import deleted_experiment, require_mlflow, unusable_store
from flows.tracking.stored_places import ARTIFACTS, KIND, absolute_uri, database_file, local_folder, repair_places
from flows.tracking.terminal import track

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MLRUNS = Path("mlruns")
PARENT_VARIABLE = "DERMFLOW_PARENT_RUN"
FLOW_VARIABLE = "DERMFLOW_FLOW_RUN"
PIPELINE = "pipeline"  # value of the tag `stage` in the parent run, which stands for all stages
T = TypeVar("T")


def mlruns_folder() -> Path:
    """The folder of database and artifacts, that of the real checkout where this is DVC's temporary copy of it."""
    return (real_root() / MLRUNS).resolve()


def tracking_uri() -> str:
    """The database in mlruns/, unless MLFLOW_TRACKING_URI names a server.

    The path is absolute, since MLflow resolves a relative one only when it is used.
    """
    named = os.environ.get("MLFLOW_TRACKING_URI")
    return absolute_uri(named, real_root()) if named else f"sqlite:///{mlruns_folder()}/mlflow.db"


def open_client() -> MlflowClient:
    """A client of the MLflow store, whose database exists afterwards, with artifacts where they are now.

    A file lock guards its creation: two processes that create it at the same time both fail.
    """
    uri = tracking_uri()
    require_mlflow(uri, mlruns_folder())
    database = database_file(uri)
    if database is None:
        return MlflowClient(uri)
    database.parent.mkdir(exist_ok=True)
    with FileLock(database.parent / ".lock"):
        client = _open_database(uri)
        for line in repair_places(database) if _is_own(database) else ():
            print(f"mlflow: {line}", file=sys.stderr, flush=True)  # noqa: T201  # as RunLog.line
    return client


def _open_database(uri: str) -> MlflowClient:
    try:
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
    except Exception as error:  # of MLflow, alembic or SQLAlchemy, without a common base
        raise unusable_store(uri, error) from error
    return client


def open_experiment(client: MlflowClient, name: str) -> str:
    """The id of an experiment, which is created where it is missing, with its artifacts next to the database.

    Raises:
        RunError: where the experiment was deleted, or a database outside the checkout names a folder of artifacts that
            is gone.
    """
    database = database_file(tracking_uri())
    folder = database.parent if database else mlruns_folder()
    folder.mkdir(exist_ok=True)
    with FileLock(folder / ".lock"):
        found = find_experiment(client, name)
        if found is not None:
            if database and not _is_own(database):
                _check_artifacts(found, database)
            return str(found.experiment_id)
        place = (folder / ARTIFACTS).as_uri() if database else None
        if database:
            (folder / ARTIFACTS).mkdir(exist_ok=True)
        return str(client.create_experiment(name, artifact_location=place, tags=dict([KIND])))


def find_experiment(client: MlflowClient, name: str) -> Experiment | None:
    """The experiment of that name; None where there is none yet. RunError where it was deleted, with the way back."""
    found = client.get_experiment_by_name(name)
    if found is not None and found.lifecycle_stage == LifecycleStage.DELETED:
        raise deleted_experiment(tracking_uri(), name, found.experiment_id)
    return found


def _is_own(database: Path) -> bool:
    """Whether a database belongs to this checkout alone; one elsewhere may be that of several."""
    return database.parent.resolve() == mlruns_folder()


def _check_artifacts(experiment: Experiment, database: Path) -> None:
    """Refuse a folder that is gone: MLflow would make it anew, and earlier artifacts would stay lost."""
    place = local_folder(experiment.artifact_location)
    if place is not None and not place.exists():
        raise RunError(
            f"experiment {experiment.name!r} of {database} keeps its artifacts in {place}, which does not exist, as "
            f"after a move: move the folder back there, or make an empty one with `mkdir -p {quote(str(place))}`"
        )


def search_runs(client: MlflowClient, query: str = "", limit: int | None = None) -> list[Run]:
    """Runs of all experiments that match an MLflow query, newest first; all of them, or the first `limit`."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    newest_first = ["attributes.start_time DESC"]
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            experiments, query, max_results=limit or 1000, order_by=newest_first, page_token=token
        )
        runs, token = [*runs, *page], page.token
        if limit or not token:
            return runs


class RunLog:
    """One MLflow run as a `components.base.log.Log`: metrics are sent in batches, lines go to the terminal.

    A metric gets one value per step. MLflow would keep a second value of the same step, as after a resumed training.
    """

    def __init__(self, client: MlflowClient, run_id: str, name: str, before: Run | None = None) -> None:
        self.client, self.run_id, self.name = client, run_id, name
        self.shown_at = time.monotonic()  # of the last line or progress
        self._waiting: list[Metric] = []
        self._logged = logged_points(client, before) if before else set()
        self._params = dict(before.data.params) if before else {}

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log values at a step, 0 for a metric without a curve; the last value of a curve is not logged again there.

        They are buffered: `log_metric` costs 4 to 13 ms each, a batch 0.1 ms per metric.
        """
        now = int(time.time() * 1000)
        curves = {key for key, _ in self._logged} if step is None else set()
        points = [Metric(as_key(key), float(value), now, step or 0) for key, value in values.items()]
        points = [point for point in points if point.key not in curves]
        self._waiting += [point for point in points if (point.key, point.step) not in self._logged]
        self._logged |= {(point.key, point.step) for point in points}
        if len(self._waiting) >= 100 or step is not None:
            self.flush()

    def flush(self) -> None:
        """Send the buffered metrics."""
        for start in range(0, len(self._waiting), 1000):  # MLflow's limit per batch
            self.client.log_batch(self.run_id, metrics=self._waiting[start : start + 1000])
        self._waiting = []

    def figure(self, name: str, figure: Figure) -> None:
        """Log a figure as an artifact in figures/, at 120 dpi."""
        from components.report.figures import save  # here, since most stages draw nothing

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            save(figure, path, dpi=120, bbox_inches="tight")
            self.client.log_artifact(self.run_id, str(path), "figures")

    def artifact(self, path: Path, folder: str = "") -> None:
        """Log a copy of a file or a folder."""
        if path.is_dir():
            self.client.log_artifacts(self.run_id, str(path), folder or path.name)
        elif path.exists():
            self.client.log_artifact(self.run_id, str(path), folder or None)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the run."""
        self.client.log_batch(self.run_id, tags=[RunTag(as_key(key), value) for key, value in values.items()])

    def settings(self, values: Mapping[str, object]) -> None:
        """Log settings as params, with dotted names as in params.yaml.

        MLflow does not change a param: where a resumed run has another value, the new one becomes a tag.
        """
        given = {key: str(value)[:6000] for key, value in flat_keys(values, ".").items()}
        params = [Param(key, value) for key, value in given.items() if key not in self._params]
        for start in range(0, len(params), 100):  # MLflow's limit per batch
            self.client.log_batch(self.run_id, params=params[start : start + 100])
        self.tags({key: value for key, value in given.items() if self._params.get(key, value) != value})

    def line(self, text: str) -> None:
        """Print one line to the terminal, and so to the flow's log."""
        self.shown_at = time.monotonic()
        print(f"{self.name}: {text}", flush=True)  # noqa: T201  # stages report on stdout

    def track(self, items: Iterable[T], total: int, what: str) -> Iterator[T]:
        """The items, with a progress bar on a terminal, else with a line every 10 s at most."""
        for item in track(items, total, what, self.line, self.name):
            if sys.stderr.isatty():
                self.shown_at = time.monotonic()
            yield item


@contextmanager
def recorded_run(
    settings: Settings, name: str, tags: Mapping[str, str], training: ResumableRun | None = None
) -> Iterator[RunLog]:
    """An MLflow run around a block of work, closed as FINISHED, FAILED or KILLED as the block ended.

    Args:
        settings: of the study; they give the experiment, the data set and the lineage.
        name: of the run, such as `finetune@vae-frozen-0`.
        tags: of the run, in addition to those that every run has.
        training: of a stage that can be resumed; a run that an earlier process began is continued.
    """
    client = open_client()
    log = _open(client, settings, name, tags, training)
    if not os.environ.get(PARENT_VARIABLE):  # else the flow has said it
        _warn_of_unknown_commit(log)
    try:
        log_inputs(client, log.run_id, settings, _cohorts(settings, tags))
        log.tags(log_environment(client, log.run_id, settings))
        yield log
        log.flush()
    except BaseException as error:
        log.flush()
        stopped = isinstance(error, (KeyboardInterrupt, SystemExit))
        log.tags({"error": shareable(error, settings)})
        client.set_terminated(log.run_id, "KILLED" if stopped else "FAILED")
        raise
    client.set_terminated(log.run_id, "FINISHED")


def _warn_of_unknown_commit(log: RunLog) -> None:
    commit = find_commit(Path.cwd())
    if commit.unknown:
        log.line(f"WARNING: no commit is recorded, so this run cannot be repeated: {commit.found} ({commit.fix})")


def _cohorts(settings: Settings, tags: Mapping[str, str]) -> list[str]:
    """The external test sets that a run reads: the one of a stage's item, all of a pipeline run."""
    return [each.name for each in settings.external if tags["stage"] == PIPELINE or tags.get("cohort") == each.name]


def shareable(error: BaseException, settings: Settings | None) -> str:
    """The error as MLflow and Prefect may keep it, of a study with these settings, None where they are not known.

    With private data its message can hold a file name, and so a person's name.
    """
    kind = type(error).__name__
    if settings and settings.privacy.key == "public":
        return f"{kind}: {error}"[:4000]
    return f"{kind}: its message stays on the host"


def _open(
    client: MlflowClient, settings: Settings, name: str, tags: Mapping[str, str], training: ResumableRun | None
) -> RunLog:
    if training is None:
        return RunLog(client, _create(client, settings, name, tags), name)
    experiment = open_experiment(client, settings.study.name)
    before = training.find_run(client, experiment)
    if before is not None:
        return _resume(client, before, settings, name, tags)
    tagged = {**tags, TRAINING_TAG: training.begin(client, experiment)}
    return RunLog(client, _create(client, settings, name, tagged), name)


def _resume(client: MlflowClient, before: Run, settings: Settings, name: str, tags: Mapping[str, str]) -> RunLog:
    """Reopen the run of a process that ended before its work was done, as a child of the current flow, if any."""
    run_id = before.info.run_id
    client.update_run(run_id, "RUNNING")
    if "error" in before.data.tags:
        client.delete_tag(run_id, "error")
    log = RunLog(client, run_id, name, before)
    resumed = int(before.data.tags.get("resumed", "0")) + 1
    log.tags({**_common_tags(settings), **tags, "resumed": str(resumed)})
    log.line(f"resuming MLflow run {run_id}")
    return log


def _common_tags(settings: Settings) -> dict[str, str]:
    """Tags that every run has: study, lineage, fold, and the parent run and Prefect flow run of this process."""
    parent = os.environ.get(PARENT_VARIABLE)
    flow = {
        "mlflow.parentRunId": parent,
        "prefect.flow_run": os.environ.get(FLOW_VARIABLE),
        "dvc.experiment": os.environ.get("DVC_EXP_NAME"),  # DVC sets it in `dvc exp run`
        "fold": f"{settings.split.fold} of {settings.split.folds}" if settings.split.folds else None,
    }
    known = {key: value for key, value in flow.items() if value}
    return {"study": settings.study.name, **lineage_tags(settings), **known}


def _create(client: MlflowClient, settings: Settings, name: str, tags: Mapping[str, str]) -> str:
    experiment = open_experiment(client, settings.study.name)
    all_tags = {**_common_tags(settings), **tags}
    return str(client.create_run(experiment, run_name=name, tags=all_tags).info.run_id)


def end_orphans(parent: RunLog) -> None:
    """Close child runs whose status is still RUNNING as KILLED: their processes ended without closing them."""
    experiment = parent.client.get_run(parent.run_id).info.experiment_id
    query = f"tags.mlflow.parentRunId = '{parent.run_id}' and attributes.status = 'RUNNING'"
    for run in parent.client.search_runs([experiment], query):
        parent.client.set_terminated(run.info.run_id, "KILLED")


def end_dead_flows(client: MlflowClient, checkout: str) -> list[str]:
    """Close pipeline runs of a checkout that have the status RUNNING, and their child runs, as KILLED.

    The caller holds the checkout's lock, so no process works on these runs any more. Runs of resumable trainings keep
    their status: the process that resumes one finds it by that (`resumed_runs`).

    Returns:
        Name and id of each pipeline run that was closed.
    """
    query = f"tags.stage = '{PIPELINE}' and tags.checkout = '{checkout}' and attributes.status = 'RUNNING'"
    dead = search_runs(client, query)
    for flow in dead:
        below = f"tags.mlflow.parentRunId = '{flow.info.run_id}' and attributes.status = 'RUNNING'"
        children = [run for run in search_runs(client, below) if TRAINING_TAG not in run.data.tags]
        for run in [*children, flow]:
            client.set_tag(run.info.run_id, "error", "its process ended without closing the run, as after kill -9")
            client.set_terminated(run.info.run_id, "KILLED")
    return [f"{flow.info.run_name} ({flow.info.run_id})" for flow in dead]
