"""The Prefect flow of a promotion: register this checkout's bundle, compare it with the champion, propose it.

A person then approves (`dermflow promote --approve VERSION`), unless `promotion.approval` is automatic.
"""

from __future__ import annotations

from mlflow.entities.model_registry import ModelVersion
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from components.base.log import Log
from components.deployment.bundle import open_bundle
from flows.orchestration.prefect_server import server_of_one_run
from flows.promotion.decision import Proposal, propose
from flows.registry.versions import get_version, model_name, register
from flows.settings import Settings
from flows.tracking.mlflow_log import open_client


@task(name="candidate", cache_policy=NO_CACHE, persist_result=False)
def find_candidate(settings: Settings, number: str | None, log: Log) -> ModelVersion:
    """The registered version of that number; without one that of this checkout's bundle, which is registered first."""
    client = open_client()
    if number is not None:
        return get_version(client, f"models:/{model_name(settings.study.name)}/{number}")
    version, new = register(client, open_bundle(settings.paths.bundle), settings)
    log.line(f"models:/{version.name}/{version.version}: {'registered' if new else 'was registered already'}")
    return version


@task(name="proposal", cache_policy=NO_CACHE, persist_result=False)
def propose_candidate(settings: Settings, version: ModelVersion, log: Log) -> Proposal:
    """Compare with the champion and record the proposal; see `flows.promotion.decision.propose`."""
    return propose(open_client(), version, settings, log)


@flow(name="dermflow-promotion", validate_parameters=False, persist_result=False)
def promotion(settings: Settings, number: str | None, log: Log) -> Proposal:
    """Register, compare, propose."""
    return propose_candidate(settings, find_candidate(settings, number, log), log)


def run_promotion(settings: Settings, number: str | None, log: Log) -> Proposal:
    """Run the flow in this process, with a server of its own where none is named.

    Args:
        settings: of this checkout.
        number: of the registered version; None for this checkout's bundle.
        log: shows lines.
    """
    with server_of_one_run():
        return promotion(settings, number, log)
