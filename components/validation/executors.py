"""Where work on images is done: in this process, in several on this host, or on a cluster that runs already."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import cv2

from components.base.errors import DataError

PATIENCE = 10  # seconds for a scheduler to answer


@contextmanager
def open_executor(workers: int, cluster: str | None) -> Iterator[Executor | None]:
    """None for one worker; fresh processes for several; the executor of the scheduler at `cluster` if one is named.

    A process pool starts no process before it gets work. A fork of a process with threads can hang: forkserver.
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
    """The pool has a process a core already."""
    cv2.setNumThreads(1)


@contextmanager
def _cluster(address: str) -> Iterator[Executor]:
    from distributed import Client  # a second to import, and only clusters need it

    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]  # dask's
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"scan.cluster (params.yaml) is {address}, expected a dask scheduler that answers there "
            f"({type(error).__name__}: {error}): start one with `dask scheduler`, mend the address, "
            "or set scan.cluster: null for this host's processes"
        ) from error
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise DataError(
                f"scan.cluster (params.yaml) is {address}, a dask scheduler without workers: start some with "
                f"`dask worker {address}` where the data set's folder is mounted at the same path"
            )
        with client.get_executor(retries=2) as executor:  # type: ignore[no-untyped-call]  # dask's
            yield executor
