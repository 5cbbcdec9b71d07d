"""Where a training runs: one line of log, and an error where a GPU is missing."""

from __future__ import annotations

import pytest
import torch

from components.base.errors import SettingsError
from components.base.log import SilentLog
from components.training.session import open_session
from tests.unit.training.small_settings import FP32, small_compute


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_the_hardware_is_logged_in_one_line():
    log = SilentLog()
    session = open_session(small_compute(device="auto"), cpu=FP32, seed=0, checkpoint=None, log=log)
    assert log.lines == ["no GPU found: running on the CPU, 1 thread, fp32, channels_last"]
    assert (session.device, session.precision, session.channels_last) == ("cpu", "32-true", True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_an_error():
    with pytest.raises(SettingsError, match=r"compute.device = 'cuda': torch finds no GPU; set auto or cpu"):
        open_session(small_compute(device="cuda"), cpu=FP32, seed=0, checkpoint=None, log=SilentLog())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_person_may_allow_fewer_threads_than_the_settings(monkeypatch: pytest.MonkeyPatch):
    before = torch.get_num_threads()
    log = SilentLog()
    try:
        for variable, allowed, threads in (("OMP_NUM_THREADS", "2", 2), ("MKL_NUM_THREADS", "1", 1)):
            monkeypatch.setenv(variable, allowed)
            open_session(small_compute(device="auto", threads=3), cpu=FP32, seed=0, checkpoint=None, log=log)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert "2 threads (compute.threads = 3, but OMP_NUM_THREADS or " in log.lines[0]
    assert "1 thread (compute.threads = 3" in log.lines[1]
