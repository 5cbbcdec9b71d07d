"""GPU slots: one stage per GPU, within a flow by the queue, and between flows by Prefect's limits."""

from __future__ import annotations

import platform
import threading
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.testing.utilities import prefect_test_harness

from components.base.environment import CUDA_VARIABLE
from flows import pipeline
from flows.orchestration.policy import load_policies
from flows.orchestration.processes import Processes
from flows.orchestration.run_state import RunState
from flows.pipeline import GPU_LIMIT, PipelineRun, _environment, _gpu_queue, _gpu_slot, workers
from flows.settings import load_settings
from flows.tracking import environment
from flows.tracking.environment import Gpu

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


def gpus(*entries: str) -> list[Gpu]:
    return [Gpu(entry, f"GPU-{entry}") for entry in entries]


def make_run(repo: Path, found: list[Gpu], devices: int = 1) -> PipelineRun:
    settings = load_settings(repo / "params.yaml")
    return PipelineRun(
        settings=settings, state=RunState({}, {}), policies=load_policies(), processes=Processes(), parent="none",
        slots=threading.BoundedSemaphore(4), warm=dict, gpus=_gpu_queue(found, devices),
    )  # fmt: skip


def test_two_stages_at_once_get_two_gpus_and_a_third_waits(prefect: object, repo: Path) -> None:
    run = make_run(repo, gpus("2", "3"))
    policy = run.policies["pretrain"]
    assert policy.gpu
    with _gpu_slot(run, policy) as first, _gpu_slot(run, policy) as second:
        assert {first, second} == {"2", "3"}
        assert run.gpus is not None
        assert run.gpus.empty()
    with _gpu_slot(run, policy) as again:
        assert again in {"2", "3"}


def test_a_stage_without_a_gpu_policy_takes_none(prefect: object, repo: Path) -> None:
    run = make_run(repo, gpus("0"))
    plain = run.policies["default"]
    assert not plain.gpu
    with _gpu_slot(run, run.policies["pretrain"]) as taken, _gpu_slot(run, plain) as none:
        assert (taken, none) == ("0", "")


def test_a_stage_gets_as_many_gpus_as_compute_devices(prefect: object, repo: Path) -> None:
    for devices, groups in ((1, ["0", "1", "2"]), (2, ["0,1"]), (3, ["0,1,2"]), (4, ["0,1,2"])):
        run = make_run(repo, gpus("0", "1", "2"), devices)
        assert run.gpus is not None
        assert run.gpus.qsize() == len(groups)
        with _gpu_slot(run, run.policies["pretrain"]) as taken:
            assert taken == groups[0]


def test_flows_share_gpus_by_uuid_and_do_not_wait_for_those_of_others(
    prefect: object, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second flow names the same first GPU in another form; its first try finds it taken, and it gets the other."""
    monkeypatch.setattr(pipeline, "GPU_TRY_S", 1)
    one, other = make_run(repo, gpus("0")), make_run(repo, [Gpu("GPU-0", "GPU-0"), Gpu("1", "GPU-1")])
    policy = one.policies["pretrain"]
    with _gpu_slot(one, policy) as first, _gpu_slot(other, policy) as second:
        assert (first, second) == ("0", "1")
    assert other.gpus is not None and other.gpus.qsize() == 2
    with _gpu_slot(make_run(repo, gpus("2")), policy) as apart, _gpu_slot(make_run(repo, gpus("3")), policy) as own:
        assert (apart, own) == ("2", "3")


def test_a_limit_is_one_stage_for_each_gpu(prefect: object) -> None:
    _gpu_queue([Gpu("MIG-GPU-7/1/0", "MIG-GPU-7/1/0"), Gpu("0", "0")], devices=1)
    with get_client(sync_client=True) as client:
        for name in (f"{GPU_LIMIT}-MIG-GPU-7-1-0", f"{GPU_LIMIT}-{platform.node()}-0"):
            assert client.read_global_concurrency_limit_by_name(name).limit == 1


def test_a_stage_gets_a_persons_variables_narrowed(
    prefect: object, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(repo, gpus("3"))
    for variable, value in {"OMP_NUM_THREADS": "8", "MKL_NUM_THREADS": "1", CUDA_VARIABLE: "3"}.items():
        monkeypatch.setenv(variable, value)
    with _gpu_slot(run, run.policies["pretrain"]) as taken:
        stage = _environment(run, taken)
    assert (stage["OMP_NUM_THREADS"], stage["MKL_NUM_THREADS"], stage[CUDA_VARIABLE]) == ("1", "1", "3")
    assert CUDA_VARIABLE not in _environment(run, "")  # it inherits the person's


def test_threads_divide_the_cores(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(repo / "params.yaml")
    monkeypatch.setattr(environment.os, "sched_getaffinity", lambda _: set(range(8)))
    four = settings.model_copy(update={"compute": settings.compute.model_copy(update={"threads": 4})})
    assert (workers(settings, 0), workers(four, 0), workers(four, 6)) == (8, 2, 6)
