"""What flow runs of the whole study have in common: their name, and the event that a failure leaves in Prefect."""

from __future__ import annotations

import platform
from zoneinfo import ZoneInfo

from prefect.events import emit_event
from prefect.runtime import flow_run

from components.base.errors import DermflowError
from flows.orchestration.schedules import UTC
from flows.settings import Settings, load_settings
from flows.tracking.mlflow_log import shareable

FAILED = "dermflow.pipeline.failed"  # event of a run that failed, of the resource dermflow.pipeline.STUDY
UNREADABLE = "unreadable-params"  # instead of a study's name, where params.yaml is wrong


def name_run() -> str:
    """Study and time of a flow run, as in `ham10000 2026-11-29 03:00`, in the time zone of its parameters."""
    zone = flow_run.get_parameters().get("timezone") or UTC
    due = flow_run.get_scheduled_start_time().astimezone(ZoneInfo(zone))
    settings = _readable_settings()
    return f"{settings.study.name if settings else UNREADABLE} {due:%Y-%m-%d %H:%M}"


def emit_failure(error: Exception) -> None:
    """An event that an automation of Prefect can answer, as with a mail (docs/scheduling.md)."""
    settings = _readable_settings()
    study = settings.study.name if settings else UNREADABLE
    resource = {"prefect.resource.id": f"dermflow.pipeline.{study}", "prefect.resource.name": f"study {study}"}
    payload = {"error": shareable(error, settings), "flow_run": flow_run.get_name(), "host": platform.node()}
    emit_event(FAILED, resource=resource, payload=payload)


def _readable_settings() -> Settings | None:
    """The settings; None where they are wrong, which the run itself tells."""
    try:
        return load_settings()
    except DermflowError:
        return None
