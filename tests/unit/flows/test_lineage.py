"""Md5 of inputs and outputs are read from dvc.lock, also while DVC writes it."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from flows.tracking import lineage


@pytest.mark.parametrize("pause", [0.004, 0.08])  # between two parts: on an idle disk, and on a busy machine
def test_a_lock_that_dvc_is_writing_is_read_once_it_is_complete(plain_checkout: Path, pause: float) -> None:
    whole = "stages:\n" + "".join(f"  s{n}:\n    outs:\n    - path: o{n}\n      md5: m{n}\n" for n in range(20))

    def write() -> None:
        for _ in range(max(1, int(0.02 / pause))):
            with (plain_checkout / "dvc.lock").open(
                "w"
            ) as lock:  # empty for a while, then in pieces, as a busy disk shows it
                for start in range(0, len(whole), 100):
                    time.sleep(pause)
                    lock.write(whole[start : start + 100])
                    lock.flush()
            time.sleep(0.1)

    (plain_checkout / "dvc.lock").write_text(whole)
    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = [len(lineage.recorded_hashes()) for _ in range(12)]
    finally:
        writer.join()
        (plain_checkout / "dvc.lock").unlink()
    assert found == [20] * 12
    assert lineage.recorded_hashes() == {}
