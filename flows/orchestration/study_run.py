"""A run of the whole study as MLflow records it, whether or not a stage has to run; Prefect is not needed for it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.base.keys import flat_keys
from flows.orchestration.dvc_leftovers import repair_leftovers
from flows.orchestration.freshness import check_members, read_stages
from flows.orchestration.graph import Node, read_graph, stale_nodes, upstream_of
from flows.orchestration.processes import checkout_id, former_ids, only_run
from flows.settings import Settings, load_settings
from flows.tracking.checkout import check_own_code
from flows.tracking.inputs import log_inputs
from flows.tracking.lineage import LOCK, lineage_tags
from flows.tracking.mlflow_log import (
    PIPELINE,
    RunLog,
    end_dead_flows,
    mlruns_folder,
    open_client,
    recorded_run,
    tracking_uri,
)
from flows.tracking.run_events import listener
from flows.tracking.services import require_mlflow


def planned_nodes(target: str) -> list[Node]:
    """The stages that a run brings up to date: one and all upstream of it, or all for an empty target."""
    nodes = read_graph()
    wanted = set(upstream_of(nodes, next(node for node in nodes if node.address == target) if target else None))
    return [node for node in nodes if node.address in wanted]


@contextmanager
def recorded_study(settings: Settings) -> Iterator[RunLog]:
    """The parent run. Earlier runs of this checkout that are still RUNNING are closed: `only_run` holds its lock."""
    checkout, client = checkout_id(), open_client()
    for name in [name for identity in (checkout, *former_ids()) for name in end_dead_flows(client, identity)]:
        print(f"{name} was killed; its MLflow run is now closed as KILLED", flush=True)  # noqa: T201  # as RunLog.line
    tags = {"stage": PIPELINE, "checkout": checkout}
    with recorded_run(settings, f"pipeline {settings.study.name}", tags) as log:
        log.settings(settings.model_dump(mode="json", by_alias=True, exclude={"labels", "paths"}))
        yield log


def log_counts(settings: Settings, log: RunLog, *, stages: int, skipped: int, failed: int) -> None:
    """Log how many stages there are, and the data and dvc.lock that they stand on, whatever became of them."""
    log.metrics({"stages/skipped": skipped, "stages/failed": failed, "stages/all": stages})
    log_inputs(log.client, log.run_id, settings, [cohort.name for cohort in settings.external])
    log.artifact(LOCK)


def log_results(settings: Settings, log: RunLog) -> dict[str, float]:
    """Log the study's pages and numbers; returns the numbers."""
    log.tags(lineage_tags(settings))
    log.artifact(settings.paths.reports, "reports")
    metrics = read_numbers(settings.paths.metrics / "compare.json")
    log.metrics(metrics)
    return metrics


def say_results(settings: Settings, log: RunLog, *, stages: int, skipped: int) -> None:
    """The last lines of a run."""
    log.line(f"{stages} stages up to date, {skipped} of them unchanged")
    log.line(f"read the pages in {settings.paths.reports}; compare runs with `make ui`")


def read_numbers(path: Path) -> dict[str, float]:
    """The numbers of a metrics file, with nested names joined by slashes; empty where there is no file."""
    values = flat_keys(json.loads(path.read_text()), "/") if path.exists() else {}
    return {name: float(value) for name, value in values.items() if isinstance(value, (int, float))}


def record_unchanged(target: str = "") -> bool:
    """Record a run in which no stage is stale, and so has nothing to do; without Prefect, which has no task to run.

    Args:
        target: address of the one stage that is asked for, with all upstream; empty for all.

    Returns:
        Whether no stage is stale. Otherwise nothing was recorded.

    Raises:
        RunError: where another run works in this checkout, or MLflow does not answer.
    """
    require_mlflow(tracking_uri(), mlruns_folder())
    check_own_code()
    with only_run(entry.name for entry in read_stages(Path.cwd())):
        repaired = repair_leftovers(Path.cwd())
        nodes = planned_nodes(target)
        settings = load_settings()
        check_members(Path.cwd())
        if stale_nodes(nodes):
            for line in repaired:
                print(line, flush=True)  # noqa: T201  # the run that follows finds nothing to repair
            return False
        listener().planned({node.address: node.upstream for node in nodes})
        with recorded_study(settings) as log:
            for line in repaired:
                log.line(line)
            log_counts(settings, log, stages=len(nodes), skipped=len(nodes), failed=0)
            log_results(settings, log)
            for node in nodes:
                listener().finished(node.address, "unchanged")
            say_results(settings, log, stages=len(nodes), skipped=len(nodes))
    return True
