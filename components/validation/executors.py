"""Where work on images runs: in this process, in several processes on this host, or on an existing dask cluster."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import cv2

from components.base.errors import DataError

TIMEOUT = 10  # seconds for a scheduler to answer


@contextmanager
def open_executor(workers: int, cluster: str | None) -> Iterator[Executor | None]:
    """An executor for work on images.

    A process pool starts its processes with the first task; by forkserver, since a fork of a process with threads can
    hang.

    Args:
        workers: processes on this host; 1 yields None, which means this process.
        cluster: address of a dask scheduler, used instead of this host's processes.

    Raises:
        DataError: no scheduler with workers answers at `cluster`.
    """
    if cluster is not None:
        with _cluster(cluster) as executor:
            yield executor
    elif workers == 1:
        yield None
    else:
        with ProcessPoolExecutor(workers, get_context("forkserver"), _use_one_thread) as executor:
            yield executor


def _use_one_thread() -> None:
    """The pool already has one process for each core."""
    cv2.setNumThreads(1)


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    from distributed import Client  # a second to import, and only clusters need it

    try:
        client = Client(address, timeout=TIMEOUT, set_as_default=False)  # type: ignore[no-untyped-call]  # dask's
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"scan.cluster (params.yaml) is {address}, expected a dask scheduler that answers there "
            f"({type(error).__name__}: {error}): start one with `dask scheduler`, correct the address, "
            "or set scan.cluster: null for this host's processes"
        ) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise DataError(
                f"scan.cluster (params.yaml) is {address}, a dask scheduler without workers: start some with "
                f"`dask worker {address}` on a host that has the data set's folder at the same path"
            )
        with client.get_executor(retries=2) as executor:  # type: ignore[no-untyped-call]  # dask's
            yield executor
