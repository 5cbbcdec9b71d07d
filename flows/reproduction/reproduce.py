"""`dermflow reproduce RUN`: a run of MLflow made again in a fresh clone, and whether it says the same.

Everything upstream of it runs anew; nothing of the first run's results is at hand while it does. Afterwards they are
compared by md5, and number by number where a md5 differs (`sameness`).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from components.base.errors import RunError
from flows.orchestration.graph import Node, cache_folder, read_graph
from flows.orchestration.processes import CHATTER, Processes, stop_on_sigterm, venv_path
from flows.reproduction.compare_runs import DIFFERS, EQUAL, Comparison, Lock, Made, compare_locks, hashes
from flows.reproduction.differences import Difference, differing_values
from flows.reproduction.workspace import Workspace, apply_changes, choose_folder, clone, supply_data
from flows.settings import PARAMS, read_yaml
from flows.tracking.environment import (
    DIFF,
    FOLDER,
    PACKAGES,
    THREADS,
    THREADS_VARIABLE,
    differing,
    environment,
    packages,
)
from flows.tracking.lineage import LOCK, file_md5
from flows.tracking.mlflow_log import FLOW_VARIABLE, MLRUNS, PARENT_VARIABLE, PIPELINE, flatten, open_client

REPORT, LOG = Path("reproduction.json"), Path("reproduction.log")
SHOWN = 20  # numbers in the terminal; the report has them all
LEFT_OUT = "what the code had beyond the commit is left out (--without-changes)"
UNEXPLAINED = (
    "code, data, settings and versions are the recorded ones: something differs that is not recorded, or this work is "
    "not the same twice on this machine"
)
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Origin:
    """What MLflow knows of the run: tags, and files that were kept with it."""

    client: MlflowClient
    run: Run
    scratch: Path

    @property
    def tags(self) -> dict[str, str]:
        """The run's tags."""
        return dict(self.run.data.tags)

    @property
    def name(self) -> str:
        """Name and id, for people."""
        return f"{self.run.info.run_name} ({self.run.info.run_id})"

    @property
    def whole(self) -> bool:
        """Whether it is all stages."""
        return self.tags.get("stage") == PIPELINE

    def file(self, path: str, run_id: str = "") -> Path | None:
        """One of the run's artifacts (or another's), None where it has none such."""
        folder = self.scratch / (run_id or self.run.info.run_id)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            found = Path(self.client.download_artifacts(run_id or self.run.info.run_id, path, str(folder)))
        except (MlflowException, OSError):
            return None
        return found if found.exists() else None

    @cached_property
    def lock(self) -> Lock:
        """dvc.lock as a pipeline run left it, or as it was when a stage began; empty for runs of older versions."""
        return read_lock(self.file(LOCK.name) if self.whole else self.file(f"{FOLDER}/{LOCK.name}"))

    @cached_property
    def parent_lock(self) -> Lock:
        """dvc.lock at the end of the pipeline run that a stage belonged to."""
        parent = self.tags.get("mlflow.parentRunId")
        return read_lock(self.file(LOCK.name, parent)) if parent else {}


@dataclass(frozen=True)
class Outcome:
    """How it went."""

    workspace: Workspace
    comparison: Comparison
    versions: list[str]  # that differ

    @property
    def verdict(self) -> str:
        """Equal, equal within a tolerance, or differs."""
        return self.comparison.verdict


def reproduce(words: str, into: Path | None, without_changes: bool, tell: Tell) -> Outcome:
    """Make the run that an id or a name begins with again; RunError says what stands in the way."""
    repo = Path.cwd()
    if not PARAMS.exists():  # else a database would be made here
        raise RunError(f"{repo} has no {PARAMS}: run this in the checkout of Dermflow where the run was made")
    client = open_client()
    with TemporaryDirectory(prefix="dermflow-") as scratch, stop_on_sigterm():
        origin = Origin(client, find_run(client, words), Path(scratch))
        _refuse_unfinished(origin)
        tell(f"{origin.name} of {_date(origin.run)}, commit {origin.tags['git.commit'][:12]}")
        workspace = _prepare(origin, repo, into, without_changes)
        nodes = read_graph(workspace.root)
        target = None if origin.whole else find_node(nodes, origin)
        order = upstream_of(nodes, target)
        then = recorded_lock(origin, target, order, read_lock(repo / LOCK))
        workspace.notes += left_out(origin.lock, order) if target is None else []
        supply_data(workspace, repo, _data_hashes(origin, then))
        versions = changed_versions(origin)
        for line in [*workspace.notes, *versions]:
            tell(line)
        _run(origin, workspace, target, tell)
        outcome = Outcome(workspace, _compare(origin, workspace, repo, then, target, order), versions)
        _remember(origin, outcome)
        return outcome


def find_run(client: MlflowClient, words: str) -> Run:
    """The one run whose id or name begins so; RunError with those that come near."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return choose_run(_all_runs(client, experiments), words)


def choose_run(runs: list[Run], words: str) -> Run:
    """As `find_run`, among these."""
    if not runs:
        raise RunError(f"{words!r}: MLflow has no run yet; `dermflow run` makes the first")
    found = [run for run in runs if run.info.run_id.startswith(words) or (run.info.run_name or "").startswith(words)]
    exact = [run for run in found if words in (run.info.run_id, run.info.run_name)]
    if len(exact or found) == 1:
        return (exact or found)[0]
    if found:
        raise RunError(f"{words!r} begins {len(found)} runs: name one by more of its id\n{_listing(exact or found)}")
    near = get_close_matches(words, [text for run in runs for text in (run.info.run_id, run.info.run_name or "")])
    shown = [run for run in runs if run.info.run_id in near or run.info.run_name in near] or runs
    raise RunError(f"{words!r} is no run of MLflow; {'the nearest' if near else 'the newest'} are\n{_listing(shown)}")


def _all_runs(client: MlflowClient, experiments: list[str]) -> list[Run]:
    """Newest first; MLflow gives a thousand a page."""
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs(experiments, "", order_by=["attributes.start_time DESC"], page_token=token)
        runs, token = [*runs, *page], page.token
        if not token:
            return runs


def _listing(runs: Iterable[Run]) -> str:
    lines = [f"  {run.info.run_id}  {run.info.run_name}  {run.info.status}  {_date(run)}" for run in runs]
    more = f"\n  and {len(lines) - 5} more" if len(lines) > 5 else ""
    return "\n".join(lines[:5]) + more


def _date(run: Run) -> str:
    return f"{datetime.fromtimestamp(run.info.start_time / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _refuse_unfinished(origin: Origin) -> None:
    status, commit = origin.run.info.status, origin.tags.get("git.commit", "none")
    if status != "FINISHED":
        raise RunError(f"{origin.name} is {status}: it made nothing that could be compared; name one that is FINISHED")
    if origin.whole and not origin.lock:
        raise RunError(f"{origin.name} kept no {LOCK}: there is nothing to compare with; name one of its stages' runs")
    if not origin.whole and "made" not in origin.tags:
        raise RunError(f"{origin.name} is no run of a stage: it has no tag `made` to compare with")
    if commit == "none":
        raise RunError(f"{origin.name} was made outside git: its code is not known, so it cannot be made again")


def _prepare(origin: Origin, repo: Path, into: Path | None, without_changes: bool) -> Workspace:
    """The clone with the run's code and settings; refuses to guess what a run did not keep."""
    lost = _lost(origin)
    if lost and not without_changes:
        raise RunError(
            f"{origin.name}: {' and '.join(lost)}, as with runs of versions before this command; "
            "--without-changes makes it with what the commit has, and says what differs"
        )
    workspace = clone(repo, origin.tags["git.commit"], choose_folder(into, origin.run.info.run_id))
    diff = origin.file(f"{FOLDER}/{DIFF}") if origin.tags.get(DIFF, "none") != "none" else None
    if not without_changes:
        apply_changes(workspace, diff.read_bytes() if diff else None, origin.tags.get(DIFF, "none"), origin.name)
    elif lost or origin.tags.get(DIFF, "none") != "none":
        workspace.notes.append(LEFT_OUT)
    params = origin.file(f"{FOLDER}/{PARAMS.name}")
    if params is not None:
        shutil.copyfile(params, workspace.root / PARAMS)
    else:
        workspace.notes += [f"could not be restored: {line}" for line in _unlike(origin, workspace)]
    return workspace


def _lost(origin: Origin) -> list[str]:
    """What a run of an older version did not keep."""
    dirty = origin.tags.get("git.dirty") != "false"
    if DIFF in origin.tags or not dirty:
        return []
    return [f"its tree had changes beyond commit {origin.tags['git.commit'][:12]} that were not kept"]


def _unlike(origin: Origin, workspace: Workspace) -> list[str]:
    """Settings that MLflow has with another value than the clone's params.yaml."""
    there = {key: str(value)[:6000] for key, value in flatten(_settings(workspace), ".").items()}
    then = {key: value for key, value in origin.run.data.params.items() if key in there}
    return [
        f"{each.name} was {each.then}, params.yaml of the commit has {each.now}"
        for each in differing_values(then, {key: there[key] for key in then})
    ]


def _settings(workspace: Workspace) -> Any:
    return read_yaml(workspace.root / PARAMS)


def find_node(nodes: Iterable[Node], origin: Origin) -> Node:
    """The stage of the graph that the run was; RunError where the graph at that commit has none such."""
    command = f"python -m flows.{origin.tags.get('stage')} {origin.tags.get('item', '').replace('-', ' ')}".rstrip()
    found = [node for node in nodes if node.command.replace("-", " ") == command.replace("-", " ")]
    if not found:
        raise RunError(f"{origin.name}: dvc.yaml has no stage with the command `{command}` under the run's settings")
    return found[0]


def upstream_of(nodes: Iterable[Node], target: Node | None) -> list[str]:
    """Addresses of a stage and of all that it needs, in running order; all of them for no stage."""
    known = {node.address: node for node in nodes}
    if target is None:
        return list(known)
    wanted, waiting = set(), [target.address]
    while waiting:
        address = waiting.pop()
        if address not in wanted:
            wanted.add(address)
            waiting += known[address].upstream
    return [address for address in known if address in wanted]


def read_lock(path: Path | None) -> Lock:
    """The stages of a dvc.lock; empty without one."""
    lock: Any = read_yaml(path) if path is not None and path.exists() else {}
    return dict((lock or {}).get("stages") or {})


def recorded_lock(origin: Origin, target: Node | None, order: Iterable[str], here: Lock) -> Lock:
    """What was recorded of each stage: of the run's own, DVC writes after it has ended, so it is looked for.

    It stands in the pipeline run's dvc.lock or in this checkout's (`here`); the metrics file tells whether it is this
    run's.
    """
    if target is None or _holds(origin.parent_lock, target, origin):
        lock = origin.parent_lock if target else origin.lock
        found = {address: lock[address] for address in order if address in lock}
        if not found:
            raise RunError(
                f"{origin.name}: none of its {len(lock)} recorded stages is in the clone's graph (dvc.yaml of commit "
                f"{origin.tags['git.commit'][:12]}): there is nothing to compare with"
            )
        return found
    upstream = {address: origin.lock[address] for address in order if address in origin.lock}
    inputs = {path: md5 for entry in upstream.values() for path, md5 in hashes(entry, "outs").items()}
    entry = here.get(target.address, {})
    fits = all(inputs.get(path, md5) == md5 for path, md5 in hashes(entry, "deps").items())
    if not (fits and _holds(here, target, origin)):
        entry = {"outs": [{"path": _metrics_path(target, origin), "md5": origin.tags["made"]}]}
    return {**upstream, target.address: entry}


def left_out(recorded: Lock, order: Iterable[str]) -> list[str]:
    """A note of recorded stages that the clone does not run; DVC keeps those of former settings, too."""
    names = sorted(recorded.keys() - set(order))
    return [f"recorded, but not in the clone's graph, and not compared: {', '.join(names)}"] if names else []


def _holds(lock: Lock, target: Node, origin: Origin) -> bool:
    return origin.tags["made"] in hashes(lock.get(target.address, {}), "outs").values()


def _metrics_path(target: Node, origin: Origin) -> str:
    """The stage's output that the run kept as an artifact: its metrics file."""
    kept = {Path(file.path).name for file in origin.client.list_artifacts(origin.run.info.run_id) if not file.is_dir}
    found = [path for path in target.results if Path(path).suffix == ".json" and Path(path).name in kept]
    if not found:
        raise RunError(f"{origin.name} kept none of {list(target.results)}: there is nothing to compare with")
    return found[-1]


def _data_hashes(origin: Origin, then: Lock) -> dict[str, str]:
    """Path -> md5 of everything that the recorded stages read."""
    found = {path: md5 for entry in then.values() for path, md5 in hashes(entry, "deps").items()}
    path = origin.run.data.params.get("dataset.path")
    if not found and path and not origin.lock and origin.tags.get("dvc.data", "none") != "none":
        return {path: origin.tags["dvc.data"]}  # a run of an older version
    return found


def changed_versions(origin: Origin) -> list[str]:
    """In words: what of interpreter, packages and machine is another than then."""
    now = environment()
    then = {name: origin.tags[name] for name in now if name in origin.tags and name != THREADS}
    if not then:
        return ["the run recorded no versions of Python and packages: whether they differ is not known"]
    pairs = differing_values(then, {name: now[name] for name in then})
    told = [f"{each.name.removeprefix('env.')}: {each.then} then, {each.now} now" for each in pairs
            if each.name not in ("env.packages", "env.requirements.lock")]  # fmt: skip
    kept = origin.file(f"{FOLDER}/{PACKAGES}")
    others = differing(kept.read_text().splitlines(), packages()) if kept else []
    return told + [f"package {line}" for line in others]


def _run(origin: Origin, workspace: Workspace, target: Node | None, tell: Tell) -> None:
    """`dvc repro` of a stage with all upstream, or the flow; whatever stops it leaves no process behind."""
    alone = [sys.executable, "-m", "dvc", "repro", "--no-run-cache", target.address if target else ""]
    command = alone if target else [sys.executable, "-m", "flows.pipeline"]
    threads = origin.tags.get(THREADS) or str(_settings(workspace)["compute"]["threads"])
    path = [str(workspace.root), *filter(None, [os.environ.get("PYTHONPATH")])]
    surroundings = {
        "PATH": venv_path(), "PYTHONPATH": os.pathsep.join(path), THREADS_VARIABLE: threads,
        "MLFLOW_TRACKING_URI": f"sqlite:///{workspace.root / MLRUNS}/mlflow.db", PARENT_VARIABLE: "", FLOW_VARIABLE: "",
    }  # fmt: skip
    tell(f"running {target.address if target else 'all stages'} with all upstream in {workspace.root}")
    with (workspace.root / LOG).open("w") as log:

        def hear(line: str) -> None:
            print(line, file=log, flush=True)
            if line.strip() and not line.strip().startswith(CHATTER):
                tell(f"  {line}")

        try:
            what = target.address if target else PIPELINE
            Processes().run(what, command, surroundings, threading.TIMEOUT_MAX, hear, workspace.root)
        except BaseException:
            tell(f"the workspace is kept: {workspace.root}")
            raise


def _compare(
    origin: Origin, workspace: Workspace, repo: Path, then: Lock, target: Node | None, order: list[str]
) -> Comparison:
    now = read_lock(workspace.root / LOCK)
    former = _Former(origin, repo, cache_folder(repo), Path(_settings(workspace)["paths"]["reports"]))
    found = compare_locks(then, now, order, workspace.root, former, workspace.moved)
    if target is None or "cmd" in then[target.address]:  # DVC recorded it, weights and all
        return found
    return Comparison(found.stages, found.unrecorded, _prints(origin, workspace, target))


def _prints(origin: Origin, workspace: Workspace, target: Node) -> list[Difference]:
    """The sha256 that a training tells MLflow of its weights, where DVC's md5 of them is not known."""
    client = MlflowClient(f"sqlite:///{workspace.root / MLRUNS}/mlflow.db")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    query = f"tags.stage = '{target.kind}' and tags.item = '{origin.tags.get('item', '')}'"
    then = {key: value for key, value in origin.tags.items() if key.endswith("sha256")}
    now = next((run.data.tags for run in client.search_runs(experiments, query, max_results=1)), {})
    return differing_values(then, {key: now.get(key) for key in then})


@dataclass(frozen=True)
class _Former:
    """Finds what a file held then: in DVC's cache, in the first checkout, or with the MLflow run that made it."""

    origin: Origin
    repo: Path
    cache: Path
    reports: Path  # as the run's settings call the folder

    def __call__(self, path: str, md5: str) -> Path | None:
        cached, here = self.cache / md5[:2] / md5[2:], self.repo / path
        if cached.is_file():
            return cached
        if here.is_file() and file_md5(here) == md5:
            return here
        return self._logged(Path(path), md5)

    def _logged(self, path: Path, md5: str) -> Path | None:
        kept = (self.origin.file(name, run_id) for name, run_id in self._places(path, md5))
        return next((file for file in kept if file is not None and file_md5(file) == md5), None)

    def _places(self, path: Path, md5: str) -> Iterator[tuple[str, str]]:
        """Artifacts, each with its run: a pipeline run keeps all reports, a stage's its own and its metrics file."""
        client, own = self.origin.client, self.origin.run.info.run_id
        if path.is_relative_to(self.reports):
            pipeline = own if self.origin.whole else self.origin.tags.get("mlflow.parentRunId", own)
            yield f"reports/{path.relative_to(self.reports).as_posix()}", pipeline
            yield f"report/{path.name}", own
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        for run in client.search_runs(experiments, f"tags.made = '{md5}'", max_results=10):
            yield path.name, run.info.run_id


def _remember(origin: Origin, outcome: Outcome) -> None:
    """Into the clone's reproduction.json, and to MLflow with the run itself."""
    report = outcome.workspace.root / REPORT
    now = datetime.now(UTC)
    words = {
        "run": origin.run.info.run_id, "name": origin.run.info.run_name, "commit": origin.tags["git.commit"],
        "date": f"{now:%Y-%m-%dT%H:%M:%SZ}", "notes": outcome.workspace.notes, "versions": outcome.versions,
    }  # fmt: skip
    report.write_text(json.dumps({**words, **outcome.comparison.as_data()}, indent=2, allow_nan=False) + "\n")
    run_id = origin.run.info.run_id
    origin.client.log_artifact(run_id, str(report), f"reproduced/{now:%Y%m%dT%H%M%SZ}")
    origin.client.set_tag(run_id, "reproduced", f"{outcome.verdict}, {words['date']}")


def describe(outcome: Outcome) -> list[str]:
    """The answer in lines: the verdict, where it began, numbers, the likely reason, where to look."""
    comparison, first = outcome.comparison, outcome.comparison.first
    outputs = sum(stage.outputs for stage in comparison.stages)
    lines = [f"{outcome.verdict}: {outputs} outputs of {len(comparison.stages)} stages compared"]
    if outcome.verdict == EQUAL:
        lines[0] += ", the same to the last bit"
    if comparison.unrecorded:
        lines.append(f"nothing was recorded of {', '.join(comparison.unrecorded)}")
    if first is not None:
        lines += [f"it begins at {first.address}:", *_files(first), *_table(first.numbers), *_why(outcome, first)]
    for last in comparison.stages[-1:]:
        if last is not first and last.numbers:
            lines += [f"and {last.address}:", *_table(last.numbers)]
    lines += [f"  {each.name}: {each.then} then, {each.now} now" for each in comparison.prints]
    return [*lines, f"workspace: {outcome.workspace.root} (its {REPORT} has all numbers, its {LOG} what was said)"]


def _files(stage: Made) -> list[str]:
    words = []
    for file in stage.files:
        apart = (
            f"numbers at most {file.distance:.3g} apart" if file.distance < float("inf") else "more than last digits"
        )
        if file.lost:
            apart = "how far is not known: what it held then is not in DVC's cache here (dvc fetch)"
        words.append(f"  {file.path}: {'is not made now' if file.now is None else apart}")
    return words


def _table(numbers: list[Difference]) -> list[str]:
    shown = [f"  {each.name}: {each.then} then, {each.now} now{_by(each)}" for each in numbers[:SHOWN]]
    return shown + ([f"  and {len(numbers) - SHOWN} more"] if len(numbers) > SHOWN else [])


def _by(each: Difference) -> str:
    return f", {each.now - each.then:+.3g}" if each.distance < float("inf") else ""


def _why(outcome: Outcome, first: Made) -> list[str]:
    left_out = [note for note in outcome.workspace.notes if note == LEFT_OUT]
    reasons = first.reasons or left_out or [f"other versions: {line}" for line in outcome.versions]
    return [f"  likely: {line}" for line in reasons or [UNEXPLAINED]]


def is_same(outcome: Outcome) -> bool:
    """Whether the run counts as reproduced."""
    return outcome.verdict != DIFFERS
