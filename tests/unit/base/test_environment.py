"""Variables that a person set are narrowed, never replaced or raised."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from components.base.environment import CUDA_VARIABLE, allowed_threads, cuda_entries, narrowed_threads

UUIDS = [f"GPU-{number}f2ad4ac-8b53-4b5f-b2a2-000000000000" for number in range(3)]
PARTS = [f"MIG-{number}0f1a3b2-0c3b-5b1e-9c1a-000000000000" for number in range(3)]


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("2,3", ["2", "3"]),
        (" 3 , 1 ", ["3", "1"]),
        ("", []),
        ("-1", []),
        ("0,-1,1", ["0"]),
        ("NoDevFiles", []),
        ("0,0", []),
        (",".join(UUIDS[:2]), UUIDS[:2]),
        ("GPU-0f2,GPU-1f2", ["GPU-0f2", "GPU-1f2"]),
        (f"{UUIDS[0]},1", UUIDS[:1]),
        (",".join(PARTS), PARTS),
        ("MIG-GPU-0f2ad4ac/1/0,MIG-GPU-0f2ad4ac/2/0", ["MIG-GPU-0f2ad4ac/1/0", "MIG-GPU-0f2ad4ac/2/0"]),
    ],
)
def test_the_entries_are_those_that_cuda_uses(text: str, entries: list[str]) -> None:
    assert cuda_entries({CUDA_VARIABLE: text}) == entries


def test_an_unset_variable_has_no_entries() -> None:
    assert cuda_entries({}) is None


@given(st.lists(st.sampled_from(["0", "1", "2", "-1", "", "x", *UUIDS, *PARTS]), min_size=1, max_size=4).map(",".join))
def test_the_entries_agree_with_torch(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CUDA_VARIABLE, text)
        assert cuda_entries({CUDA_VARIABLE: text}) == [str(one) for one in torch.cuda._parse_visible_devices()]


@pytest.mark.parametrize(
    ("given", "child", "torch_threads"),
    [
        ({}, {"OMP_NUM_THREADS": "4"}, 4),
        ({"OMP_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "2"}, 2),
        ({"OMP_NUM_THREADS": "16"}, {"OMP_NUM_THREADS": "4"}, 4),
        ({"OMP_NUM_THREADS": "8,2"}, {"OMP_NUM_THREADS": "4,2"}, 4),
        ({"OMP_NUM_THREADS": ""}, {"OMP_NUM_THREADS": "4"}, 4),
        ({"OMP_NUM_THREADS": "0"}, {"OMP_NUM_THREADS": "4"}, 4),
        ({"OMP_NUM_THREADS": "many"}, {"OMP_NUM_THREADS": "4"}, 4),
        ({"MKL_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "1"}, 1),
        ({"MKL_NUM_THREADS": "64"}, {"OMP_NUM_THREADS": "4", "MKL_NUM_THREADS": "4"}, 4),
        ({"OPENBLAS_NUM_THREADS": "3"}, {"OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "3"}, 4),
        ({"OMP_THREAD_LIMIT": "2"}, {"OMP_NUM_THREADS": "4"}, 2),
    ],
)
def test_threads_are_narrowed_and_never_raised(
    given: dict[str, str], child: dict[str, str], torch_threads: int
) -> None:
    assert narrowed_threads(4, given) == child
    assert allowed_threads(4, given) == torch_threads
