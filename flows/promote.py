"""The Prefect flow of a promotion: register this checkout's bundle, compare it with the champion, propose it.

A person then approves (`dermflow promote --approve VERSION`), unless `promotion.approval` is automatic. `prefect.yaml`
has it as a deployment, for a run after each nightly one.
"""

from __future__ import annotations

from mlflow.entities.model_registry import ModelVersion
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE

from components.deployment.bundle import open_bundle
from flows.orchestration.prefect_server import server_of_one_run
from flows.promotion.decision import Proposal, propose
from flows.registry.versions import get_version, model_name, register
from flows.settings import Settings, load_settings
from flows.tracking.mlflow_log import open_client
from flows.tracking.terminal import EchoLog


@task(name="candidate", cache_policy=NO_CACHE, persist_result=False)
def find_candidate(settings: Settings, number: str | None) -> ModelVersion:
    """The registered version of that number; without one that of this checkout's bundle, which is registered first."""
    client = open_client()
    if number is not None:
        return get_version(client, f"models:/{model_name(settings.study.name)}/{number}")
    version, new = register(client, open_bundle(settings.paths.bundle), settings)
    state = "registered" if new else "was registered already"
    get_run_logger().info(f"models:/{version.name}/{version.version}: {state}")
    return version


@task(name="proposal", cache_policy=NO_CACHE, persist_result=False)
def propose_candidate(settings: Settings, version: ModelVersion) -> Proposal:
    """Compare with the champion and record the proposal; see `flows.promotion.decision.propose`."""
    return propose(open_client(), version, settings, EchoLog(get_run_logger().info))


@flow(name="dermflow-promotion", persist_result=False)
def promotion(candidate: str | None = None) -> Proposal:
    """Register, compare, propose.

    Args:
        candidate: number of a registered version; null: the bundle of the checkout.
    """
    settings = load_settings()
    return propose_candidate(settings, find_candidate(settings, candidate))


def run_promotion(candidate: str | None) -> Proposal:
    """Run the flow in this process, with a server of its own where none is named.

    Args:
        candidate: as of `promotion`.
    """
    with server_of_one_run():
        return promotion(candidate)
