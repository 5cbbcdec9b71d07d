"""GPU slots: one stage per GPU, within a flow by the queue of indices and on the host by Prefect's limit."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from flows.orchestration.policy import Policy, load_policies
from flows.orchestration.processes import Processes
from flows.pipeline import GPU_LIMIT, PipelineRun, _gpu_queue, _gpu_slot, workers
from flows.settings import load_settings
from flows.tracking import environment
from flows.tracking.environment import count_gpus

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # Prefect's server, in this process
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def prefect() -> object:
    with prefect_test_harness(server_startup_timeout=120):
        yield


def make_run(repo: Path, gpus: int) -> PipelineRun:
    settings = load_settings(repo / "params.yaml")
    return PipelineRun(
        settings=settings, policies=load_policies(), processes=Processes(), parent="none",
        slots=threading.BoundedSemaphore(4), gpus=_gpu_queue(gpus),
    )  # fmt: skip


def test_two_stages_at_once_get_two_gpus_and_a_third_waits(prefect: object, repo: Path) -> None:
    run = make_run(repo, gpus=2)
    policy = run.policies["pretrain"]
    assert policy.gpu
    with _gpu_slot(run, policy) as first, _gpu_slot(run, policy) as second:
        assert {first, second} == {"0", "1"}
        assert run.gpus is not None
        assert run.gpus.empty()
    with _gpu_slot(run, policy) as again:
        assert again in {"0", "1"}


def test_a_stage_without_a_gpu_policy_takes_none(prefect: object, repo: Path) -> None:
    run = make_run(repo, gpus=1)
    plain = Policy(retries=0, retry_delay_s=0, deadline_s=1, gpu=False)
    with _gpu_slot(run, run.policies["pretrain"]) as taken, _gpu_slot(run, plain) as none:
        assert (taken, none) == ("0", "")


def test_the_limit_of_the_host_is_its_number_of_gpus(prefect: object) -> None:
    for gpus in (1, 3):
        _gpu_queue(gpus)
        with get_client(sync_client=True) as client:
            assert client.read_global_concurrency_limit_by_name(GPU_LIMIT).limit == gpus


def test_gpus_are_counted_by_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = "GPU 0: NVIDIA H100 (UUID: GPU-1)\nGPU 1: NVIDIA H100 (UUID: GPU-2)\n"
    done = subprocess.CompletedProcess(["nvidia-smi", "-L"], 0, stdout=listing)
    monkeypatch.setattr(environment.subprocess, "run", lambda *_, **__: done)
    assert count_gpus("auto") == 2
    assert count_gpus("cpu") == 0


def test_threads_divide_the_cores(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(repo / "params.yaml")
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda _: set(range(8)))
    four = settings.model_copy(update={"compute": settings.compute.model_copy(update={"threads": 4})})
    assert (workers(settings, 0), workers(four, 0), workers(four, 6)) == (8, 2, 6)
