"""The Prefect flow: one task for each stage of dvc.yaml, whatever the stages are.

DVC decides which stages are stale and writes dvc.lock. Prefect decides when a stage runs, how many run at once, how
often it is tried and how long it may take. MLflow gets a parent run. `python -m flows.pipeline` needs no server.
"""

from __future__ import annotations

import os
import platform
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import Task, flow, get_run_logger
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectFuture, wait
from prefect.runtime import flow_run
from prefect.states import Completed

from components.base.environment import CUDA_VARIABLE, narrowed_threads
from components.base.errors import DermflowError, RunError
from flows.orchestration.dvc_leftovers import repair_leftovers
from flows.orchestration.flow_runs import emit_failure, name_run
from flows.orchestration.freshness import check_members, read_stages
from flows.orchestration.graph import Node, is_changed, locked_stages, order_lock
from flows.orchestration.policy import Policy, in_order, load_policies
from flows.orchestration.prefect_server import server_of_one_run
from flows.orchestration.processes import (
    DVC_HINTS,
    Processes,
    end_at_second_interrupt,
    only_run,
    stop_on_sigterm,
    venv_path,
)
from flows.orchestration.pull import pull_data
from flows.orchestration.run_report import report_changes
from flows.orchestration.run_state import RUN_STATE, VARIABLE, RunState, describe_changes, files_below, indented
from flows.orchestration.schedules import UTC
from flows.orchestration.study_run import (
    log_counts,
    log_results,
    planned_nodes,
    record_unchanged,
    recorded_study,
    say_results,
)
from flows.orchestration.warm_server import warm_from_second_stage
from flows.settings import Settings, load_settings
from flows.tracking.checkout import check_own_code
from flows.tracking.environment import Gpu, count_cores, unused_gpu_entries, usable_gpus
from flows.tracking.lineage import file_md5
from flows.tracking.mlflow_log import (
    FLOW_VARIABLE,
    PARENT_VARIABLE,
    RunLog,
    end_orphans,
    mlruns_folder,
    open_client,
    search_runs,
    tracking_uri,
)
from flows.tracking.run_events import following, listener, starting
from flows.tracking.services import require_mlflow

GPU_LIMIT = "dermflow-gpu"  # beginning of the names of Prefect's global concurrency limits, one for each GPU
GPU_TRY_S = 10.0  # seconds after which a stage that waits for a GPU of another flow tries the next one


@dataclass(frozen=True)
class PipelineRun:
    """What all tasks of one pipeline run share."""

    settings: Settings
    state: RunState  # that all stages use
    policies: dict[str, Policy]
    processes: Processes
    parent: str  # id of the MLflow parent run
    slots: threading.BoundedSemaphore  # one for each stage that may run at the same time
    warm: Callable[[], dict[str, str]]  # variables that let a stage start in a process with the libraries
    gpus: queue.Queue[tuple[Gpu, ...]] | None  # what is free, as many GPUs in each as a stage takes; None without

    def policy(self, node: Node) -> Policy:
        """The policy of the stage, else the default one."""
        return self.policies.get(node.kind, self.policies["default"])


def run_stage(node: Node, run: PipelineRun) -> State[Any]:
    """Bring one stage up to date with `dvc repro`; skip it where nothing made it stale."""
    with run.slots, following(node.address):
        if changes := run.state.changes():
            raise RunError(describe_changes(changes))
        if not is_changed(node.address):
            return Completed(name="Skipped", message=f"unchanged{_find_maker(node)}")
        return _run_stale(node, run)


def _run_stale(node: Node, run: PipelineRun) -> State[Any]:
    policy = run.policy(node)
    with _gpu_slot(run, policy) as gpus:
        starting(node.address)
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", node.address]
        run.processes.run(
            node.address, command, environment=_environment(run, gpus), deadline_s=policy.deadline_s,
            on_line=_line_logger(node),
        )  # fmt: skip
    return Completed(message=f"ran{f' on GPU {gpus}' if gpus else ''}")


def _environment(run: PipelineRun, gpus: str) -> dict[str, str]:
    """Variables for a stage, added to those of this process; a person's own are narrowed, never replaced."""
    return {
        PARENT_VARIABLE: run.parent,
        FLOW_VARIABLE: str(flow_run.get_id() or ""),
        VARIABLE: str(RUN_STATE.resolve()),
        "PATH": venv_path(),
        **narrowed_threads(run.settings.compute.threads, os.environ),
        **run.warm(),
        **({CUDA_VARIABLE: gpus} if gpus else {}),
    }


def _line_logger(node: Node) -> Callable[[str], None]:
    """Writes a stage's lines to the flow's log, without the stage's name, which is there already, and DVC's hints."""
    logger = get_run_logger()

    def log_line(line: str) -> None:
        text = line.strip().removeprefix(f"{node.address}: ")
        if text and not text.startswith(DVC_HINTS):
            logger.info(text)
            listener().line(node.address, text)

    return log_line


def _find_maker(node: Node) -> str:
    """The MLflow run that made the stage's present outputs, found by the md5 of its metrics file."""
    client = open_client()
    for path in map(Path, node.results):
        query = f"tags.stage = '{node.kind}' and tags.made = '{file_md5(path)}'"
        for found in search_runs(client, query, limit=1):
            return f"; made by MLflow run {found.info.run_id}"
    return ""


@contextmanager
def _gpu_slot(run: PipelineRun, policy: Policy) -> Iterator[str]:
    """CUDA_VISIBLE_DEVICES for a stage whose policy needs a GPU, else "".

    The queue keeps the tasks of this flow apart, Prefect's limits keep flows apart that may use the same GPU.
    """
    if run.gpus is None or not policy.gpu:
        yield ""
        return
    with ExitStack() as held:
        yield ",".join(gpu.entry for gpu in _take_gpus(run.gpus, held))


def _take_gpus(free: queue.Queue[tuple[Gpu, ...]], held: ExitStack) -> tuple[Gpu, ...]:
    """Wait for GPUs that no stage uses, of this flow or of another; closing `held` frees them."""
    while True:
        with ExitStack() as attempt:
            gpus = free.get()
            attempt.callback(free.put, gpus)
            limits = [_limit_name(gpu) for gpu in gpus]
            try:
                attempt.enter_context(concurrency(limits, occupy=1, strict=True, timeout_seconds=GPU_TRY_S))
            except TimeoutError:  # a stage of another flow uses them
                continue
            held.push(attempt.pop_all())
            return gpus


def _gpu_queue(gpus: list[Gpu], devices: int) -> queue.Queue[tuple[Gpu, ...]] | None:
    """The GPUs in groups of as many as a stage takes, each with a limit of one user in Prefect; None without GPUs.

    Args:
        gpus: all that this flow may use.
        devices: the setting `compute.devices`; where it is more than all, the one group has all, and a training says
            how many it lacks.
    """
    if not gpus:
        return None
    free: queue.Queue[tuple[Gpu, ...]] = queue.Queue()
    for start in range(0, max(len(gpus) - devices + 1, 1), devices):
        free.put(tuple(gpus[start : start + devices]))
    with get_client(sync_client=True) as client:
        for gpu in gpus:
            client.upsert_global_concurrency_limit_by_name(_limit_name(gpu), 1)
    return free


def _limit_name(gpu: Gpu) -> str:
    """Prefect's limit for a GPU: the same in all flows on this host, and another on another host."""
    known = f"{platform.node()}-{gpu.uuid}" if gpu.uuid.isdecimal() else gpu.uuid
    return f"{GPU_LIMIT}-{known.replace('/', '-')}"


def workers(settings: Settings, slots: int) -> int:
    """How many stages run at the same time: cores / threads per stage, and not fewer than slots with GPUs."""
    return max(1, count_cores() // settings.compute.threads, slots)


@flow(name="dermflow", flow_run_name=name_run, validate_parameters=False, persist_result=False)
def pipeline(timezone: str = UTC, pull: bool = False, target: str = "") -> str:  # noqa: ARG001  # see `name_run`
    """Bring every stage of dvc.yaml up to date; a failure leaves an event in Prefect (`emit_failure`).

    Args:
        timezone: IANA name of the time zone of the date in the run's name.
        pull: whether missing data are pulled from DVC's remote before.
        target: address of the one stage that is brought up to date, with all upstream; empty for all.

    Returns:
        What changed since the run before, as Markdown.
    """
    try:
        return _bring_up_to_date(pull, target)
    except Exception as error:
        emit_failure(error)
        raise


def _bring_up_to_date(pull: bool, target: str) -> str:
    check_own_code()
    with only_run(entry.name for entry in read_stages(Path.cwd())):
        repaired = repair_leftovers(Path.cwd())
        nodes = planned_nodes(target)
        state = RunState.read(files_below(path for node in nodes for path in node.code))
        settings = load_settings()
        check_members(Path.cwd())
        with recorded_study(settings) as log:
            for line in repaired:
                log.line(line)
            return _run_recorded(nodes, settings, state, log, pull=pull)


def _run_recorded(nodes: list[Node], settings: Settings, state: RunState, log: RunLog, *, pull: bool) -> str:
    """The work of a run whose MLflow run is open; returns what changed."""
    processes = Processes()
    if pull:
        with stop_on_sigterm():
            pull_data(settings, processes, log.line)
    before = locked_stages()
    state.write(RUN_STATE)
    try:
        with warm_from_second_stage(narrowed_threads(settings.compute.threads, os.environ)) as warm:
            states = _run_all(nodes, settings, state, processes, log, warm)
    finally:
        order_lock(before, nodes)
    return _conclude(states, settings, state.changes(), log)


def _run_all(
    nodes: list[Node],
    settings: Settings,
    state: RunState,
    processes: Processes,
    log: RunLog,
    warm: Callable[[], dict[str, str]],
) -> dict[str, State[Any]]:
    """Submit every stage to run after its upstream stages; if the run is stopped, all processes are stopped."""
    if warning := unused_gpu_entries():
        log.line(warning)
    gpus = _gpu_queue(usable_gpus(settings.compute.device), settings.compute.devices)
    slots = threading.BoundedSemaphore(workers(settings, gpus.qsize() if gpus else 0))
    run = PipelineRun(
        settings=settings, state=state, policies=load_policies(), processes=processes, parent=log.run_id,
        slots=slots, warm=warm, gpus=gpus,
    )  # fmt: skip
    listener().planned({node.address: node.upstream for node in nodes})
    futures: dict[str, PrefectFuture[Any]] = {}
    try:
        with stop_on_sigterm():
            for node, upstream in in_order(nodes, run.policies):
                waits = [futures[name] for name in upstream]
                futures[node.address] = _as_task(node, run).submit(node, run, wait_for=waits)
            wait(list(futures.values()))
            return {name: future.state for name, future in futures.items()}
    except BaseException:
        run.processes.stop_all()
        raise
    finally:
        end_orphans(log)


def _as_task(node: Node, run: PipelineRun) -> Task[..., Any]:
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


def _conclude(states: dict[str, State[Any]], settings: Settings, changes: list[str], log: RunLog) -> str:
    """Log the counts of stages, the study's answer and its reports with the parent run.

    Args:
        states: of each stage's task, by its address.
        settings: of the study.
        changes: of settings, graph and code since the start of the run.
        log: of the parent run.

    Returns:
        What changed since the run before, as Markdown.

    Raises:
        RunError: where a stage failed, or did not run because one upstream failed.
    """
    skipped = sum(state.name == "Skipped" for state in states.values())
    failed = [name for name, state in states.items() if state.is_failed() or state.is_crashed()]
    blocked = [name for name, state in states.items() if state.is_pending()]
    log_counts(settings, log, stages=len(states), skipped=skipped, failed=len(failed))
    if failed or blocked:
        raise RunError(
            (f"{describe_changes(changes)}\n" if changes else "")
            + f"{len(failed)} of {len(states)} stages failed ({', '.join(failed)}), {len(blocked)} depend on "
            "them and did not run; finished stages are kept, and the next run does only what is missing"
        )
    if changes:
        log.line("all stages used the state at the start of the run; changed since then:\n" + indented(changes))
    report = report_changes(settings, log_results(settings, log), log)
    say_results(settings, log, stages=len(states), skipped=skipped)
    return report


def main(pull: bool = False, target: str = "", stale: bool = False) -> int:
    """Run the flow in this process; where no stage is stale, a run without it is recorded.

    Args:
        pull: whether missing data are pulled from DVC's remote before.
        target: as of `pipeline`.
        stale: whether `record_unchanged` has found a stale stage.

    Returns:
        The exit status: 0 where all stages are up to date, 1 after an error, 130 after Ctrl-C.
    """
    try:
        if pull:
            require_mlflow(tracking_uri(), mlruns_folder())
        elif not stale and record_unchanged(target):
            return 0
        with end_at_second_interrupt(), server_of_one_run():
            pipeline(pull=pull, target=target)
    except DermflowError as error:
        print(f"dermflow: {error}", file=sys.stderr)  # noqa: T201  # the message of the command line
        return 1
    except KeyboardInterrupt:
        print("dermflow: stopped; finished stages are kept", file=sys.stderr)  # noqa: T201  # likewise
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
