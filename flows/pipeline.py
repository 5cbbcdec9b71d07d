"""The Prefect flow: one task a stage of dvc.yaml; names no stage.

DVC decides what is stale and writes dvc.lock; Prefect decides when, how many at once, how often and how long;
MLflow gets a parent run. `python -m flows.pipeline` needs no server.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import Task, flow, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate
from prefect.client.schemas.objects import State
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectNotFound
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run
from prefect.states import Completed

from components.base.errors import DermflowError, RunError
from flows.orchestration.graph import Node, is_changed, locked_stages, order_lock, read_graph
from flows.orchestration.policy import Policy, load_policies
from flows.orchestration.processes import CHATTER, Processes, mark_checkout, only_run, stop_on_sigterm, venv_path
from flows.settings import Settings, load_settings
from flows.tracking.lineage import LOCK, file_md5, lineage_tags
from flows.tracking.mlflow_log import (
    FLOW_VARIABLE,
    PARENT_VARIABLE,
    PIPELINE,
    RunLog,
    end_dead_flows,
    end_orphans,
    flatten,
    log_dataset,
    open_client,
    recorded_run,
)

GPU_LIMIT = "dermflow-gpu"  # Prefect's global concurrency limit: one slot a GPU of this host


@dataclass(frozen=True)
class Run:
    """What every task of one pipeline run shares."""

    settings: Settings
    policies: dict[str, Policy]
    processes: Processes
    parent: str
    slots: threading.BoundedSemaphore
    gpus: queue.Queue[str] | None

    def policy(self, node: Node) -> Policy:
        """The stage's own policy, else the default."""
        return self.policies.get(node.kind, self.policies["default"])


def run_stage(node: Node, run: Run) -> State[Any]:
    """Bring one stage up to date through `dvc repro`, or say that nothing made it stale."""
    with run.slots:
        if not is_changed(node.address):
            return Completed(name="Skipped", message=f"unchanged{_made_by(node)}")
        return _reproduce(node, run)


def _reproduce(node: Node, run: Run) -> State[Any]:
    policy = run.policy(node)
    with _gpu_slot(run, policy) as gpu:
        environment = {
            PARENT_VARIABLE: run.parent,
            FLOW_VARIABLE: str(flow_run.get_id() or ""),
            "PATH": venv_path(),
            "OMP_NUM_THREADS": str(run.settings.compute.threads),
            **({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {}),
        }
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", node.address]
        run.processes.run(node.address, command, environment, policy.deadline_s, _voice(node))
    return Completed(message=f"ran{f' on GPU {gpu}' if gpu else ''}")


def _voice(node: Node) -> Callable[[str], None]:
    """The stage's lines into the flow's log, without its name, which stands there already, and DVC's chatter."""
    logger = get_run_logger()

    def hear(line: str) -> None:
        text = line.strip().removeprefix(f"{node.address}: ")
        if text and not text.startswith(CHATTER):
            logger.info(text)

    return hear


def _made_by(node: Node) -> str:
    """The MLflow run that made what stands here, found by the content of the stage's metrics file."""
    client = open_client()
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    for path in map(Path, node.results):
        query = f"tags.stage = '{node.kind}' and tags.made = '{file_md5(path)}'"
        for found in client.search_runs(experiments, query, max_results=1):
            return f"; made by MLflow run {found.info.run_id}"
    return ""


@contextmanager
def _gpu_slot(run: Run, policy: Policy) -> Iterator[str]:
    """One GPU for a stage that wants one: a slot against other flows, a number against this one's tasks."""
    if run.gpus is None or not policy.gpu:
        yield ""
        return
    with concurrency(GPU_LIMIT, occupy=1, strict=True):
        gpu = run.gpus.get()
        try:
            yield gpu
        finally:
            run.gpus.put(gpu)


def count_gpus(device: str) -> int:
    """GPUs of this host that settings allow, by the driver's own list: torch would cost seconds and memory."""
    if device == "cpu":
        return 0
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return 0
    return sum(line.startswith("GPU ") for line in listing.splitlines())


def _gpu_queue(gpus: int) -> queue.Queue[str] | None:
    if not gpus:
        return None
    with get_client(sync_client=True) as client:
        try:
            client.update_global_concurrency_limit(GPU_LIMIT, GlobalConcurrencyLimitUpdate(limit=gpus))
        except ObjectNotFound:
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_LIMIT, limit=gpus))
    waiting: queue.Queue[str] = queue.Queue()
    for number in range(gpus):
        waiting.put(str(number))
    return waiting


def workers(settings: Settings, gpus: int) -> int:
    """Stages at once: as many as cores, threads divided among them; with GPUs at least one a GPU."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // settings.compute.threads, gpus)


@flow(name="dermflow", validate_parameters=False, persist_result=False)
def pipeline() -> None:
    """Bring every stage of dvc.yaml up to date."""
    settings = load_settings()
    nodes = read_graph()
    with only_run({node.kind for node in nodes}), _recorded(settings) as log:
        log.settings(settings.model_dump(mode="json", by_alias=True, exclude={"labels", "paths"}))
        before = locked_stages()
        try:
            states = _run_all(nodes, settings, log)
        finally:
            order_lock(before, nodes)
        _conclude(states, settings, log)


@contextmanager
def _recorded(settings: Settings) -> Iterator[RunLog]:
    """The parent run; whatever of this checkout says that it still runs is dead, as `only_run` holds it."""
    checkout = mark_checkout()
    for name in end_dead_flows(open_client(), checkout):
        print(f"{name} was killed without a word; MLflow says so now", flush=True)  # noqa: T201  # as RunLog.line
    tags = {"stage": PIPELINE, "checkout": checkout}
    with recorded_run(settings, f"pipeline {settings.study.name}", tags) as log:
        yield log


def _run_all(nodes: list[Node], settings: Settings, log: RunLog) -> dict[str, State[Any]]:
    """Submit every node behind its upstream ones; whatever stops the run leaves no process behind."""
    gpus = count_gpus(settings.compute.device)
    slots = threading.BoundedSemaphore(workers(settings, gpus))
    run = Run(settings, load_policies(), Processes(), log.run_id, slots, _gpu_queue(gpus))
    futures: dict[str, PrefectFuture[Any]] = {}
    try:
        with stop_on_sigterm():
            for node in nodes:
                waits = [futures[name] for name in node.upstream]
                futures[node.address] = _as_task(node, run).submit(node, run, wait_for=waits)
            wait(list(futures.values()))
            return {name: future.state for name, future in futures.items()}
    except BaseException:
        run.processes.stop_all()
        raise
    finally:
        end_orphans(log)


def _as_task(node: Node, run: Run) -> Task[..., Any]:
    policy = run.policy(node)
    return Task(
        run_stage,
        name=node.address,
        task_run_name=node.address,
        cache_policy=NO_CACHE,  # DVC is the only cache
        persist_result=False,
        retries=policy.retries,
        retry_delay_seconds=policy.retry_delay_s,
    )


def _conclude(states: dict[str, State[Any]], settings: Settings, log: RunLog) -> None:
    """Tell what ran, keep the answer with the parent run, fail where a stage failed."""
    skipped = sum(state.name == "Skipped" for state in states.values())
    failed = [name for name, state in states.items() if state.is_failed() or state.is_crashed()]
    held = [name for name, state in states.items() if state.is_pending()]
    log.metrics({"stages/skipped": skipped, "stages/failed": len(failed), "stages/all": len(states)})
    log_dataset(log.client, log.run_id, settings)
    log.artifact(LOCK)
    if failed or held:
        raise RunError(
            f"{len(failed)} of {len(states)} stages failed ({', '.join(failed)}), {len(held)} wait for them; what "
            "succeeded is kept, and the next run does only what is missing"
        )
    log.tags(lineage_tags(settings))
    log.artifact(settings.paths.reports, "reports")
    log.metrics(read_numbers(settings.paths.metrics / "compare.json"))
    log.line(f"{len(states)} stages up to date, {skipped} of them unchanged")
    log.line(f"read {settings.paths.reports / 'index.html'}; compare runs with `make ui`")


def read_numbers(path: Path) -> dict[str, float]:
    """The numbers of a metrics file, nested names joined by slashes."""
    values = flatten(json.loads(path.read_text()), "/") if path.exists() else {}
    return {name: float(value) for name, value in values.items() if isinstance(value, (int, float))}


def main() -> int:
    """Run the flow here and now; the exit status says how it went."""
    try:
        pipeline()
    except DermflowError as error:
        print(f"dermflow: {error}", file=sys.stderr)  # noqa: T201  # the command line's last word
        return 1
    except KeyboardInterrupt:
        print("dermflow: stopped; finished stages are kept", file=sys.stderr)  # noqa: T201  # likewise
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
