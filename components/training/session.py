"""One process's hardware: device, number format, memory layout, threads, and its place among several devices.

This module does not import Lightning, which is slow to import.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from components.base.environment import TORCH_THREADS, allowed_threads
from components.base.errors import SettingsError
from components.base.log import Log
from components.models.backbone import CpuProfile
from components.training.checkpoints import forget_state
from components.training.settings import Compute

Device = Literal["cpu", "cuda"]
Precision = Literal["32-true", "bf16-mixed"]

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # from malloc.h of glibc


@dataclass(frozen=True, kw_only=True)
class Session:
    """The settings of the hardware, with every `auto` resolved, and where the resume state is kept."""

    compute: Compute
    device: Device
    precision: Precision
    channels_last: bool
    compile: bool
    seed: int
    checkpoint: Path | None
    """Folder of the resume state; None: no resume state is kept."""

    @property
    def world(self) -> int:
        """Number of devices that train together; each has its own process."""
        return self.compute.devices * self.compute.num_nodes

    @property
    def threads(self) -> int:
        """Threads of torch on the CPU: `compute.threads`, or fewer where the person's environment says so."""
        return allowed_threads(self.compute.threads, os.environ)

    @property
    def rank(self) -> int:
        """Number of this process among them, as torchrun or Lightning's launcher gives it; 0 where there is one."""
        return find_rank(self.compute.devices, self.compute.num_nodes)

    def describe_computation(self) -> dict[str, object]:
        """What can change a result beyond the last digits: number format, kind of device, division of a batch.

        Threads, memory layout and the hosts' number change the order of sums alone; the resume state's place and
        frequency change nothing.
        """
        return {
            "device": self.device,
            "precision": self.precision,
            "compile": self.compile,
            "devices": self.world,
            "micro_batch": self.compute.micro_batch,
        }

    @property
    def leads(self) -> bool:
        """True in the one process that evaluates, logs and writes files."""
        return self.rank == 0

    def place(self, module: nn.Module) -> None:
        """Move `module` to the device, its weights into the memory layout that is fast there."""
        module.to(self.device)
        if self.channels_last:
            module.to(memory_format=torch.channels_last)

    def forget(self) -> None:
        """Delete the resume state, once the results of the training are saved."""
        if self.checkpoint is not None and self.leads:
            forget_state(self.checkpoint)

    def autocast(self) -> torch.autocast:
        """The number format of this session, for forward passes outside `fit`."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16-mixed")


def find_rank(devices: int, num_nodes: int) -> int:
    """The number of this process among those on `num_nodes` hosts with `devices` each; process 0 leads."""
    if devices * num_nodes == 1:
        return 0
    node = int(os.environ.get("NODE_RANK", "0"))
    return int(os.environ.get("RANK", node * devices + int(os.environ.get("LOCAL_RANK", "0"))))


def open_session(compute: Compute, *, cpu: CpuProfile, seed: int, checkpoint: Path | None, log: Log) -> Session:
    """Choose device and number format, set torch's threads and determinism, and log the choice in one line.

    Args:
        compute: the settings.
        cpu: number format and memory layout that the backbone has on a CPU where `compute.precision` is "auto".
        seed: of dropout and of all other random draws during training.
        checkpoint: folder of the resume state; None: no resume state is kept.
        log: receives one line such as `no GPU found: running on the CPU, 1 thread, fp32, channels_last`.

    Raises:
        SettingsError: where a GPU is required and torch finds none, or fewer than `compute.devices`.
    """
    found = torch.cuda.is_available()
    if compute.device == "cuda" and not found:
        raise SettingsError("compute.device = 'cuda': torch finds no GPU; set auto or cpu (params.yaml)")
    torch.set_num_threads(allowed_threads(compute.threads, os.environ))
    _set_deterministic()
    on_gpu = found and compute.device != "cpu"
    if not on_gpu:
        _keep_freed_memory()
    if on_gpu and compute.devices > torch.cuda.device_count():
        raise SettingsError(
            f"compute.devices = {compute.devices}: torch finds {torch.cuda.device_count()} GPUs (params.yaml)"
        )
    preferred = _gpu_precision() if on_gpu else cpu.precision
    session = Session(
        compute=compute,
        device="cuda" if on_gpu else "cpu",
        precision=preferred if compute.precision == "auto" else compute.precision,
        channels_last=on_gpu or cpu.channels_last,
        compile=compute.compile and on_gpu,
        seed=seed,
        checkpoint=checkpoint,
    )
    if on_gpu and session.world > 1:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # the GPU that "cuda" means in this process
    log.line(_describe(session))
    return session


def _keep_freed_memory() -> None:
    """Make glibc keep freed memory in the process; by default each step returns it and gets it again, zeroed.

    That was 3 to 16 % of a ConvNeXt-Tiny step on a CPU, in 80,000 page faults. Other C libraries have no such call.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)  # large blocks too come from the heap,
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)  # whose end is not given back


def _gpu_precision() -> Precision:
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"


def _set_deterministic() -> None:
    """The same seed on the same machine gives the same bits; this costs a GPU some speed, a CPU none."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS requires it before its first call
    torch.use_deterministic_algorithms(True)
    # No operation here reads memory that it did not write, so filling it first would only cost time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # torch's stubs lack it
    torch.backends.cudnn.benchmark = False


def _describe(session: Session) -> str:
    """`no GPU found: running on the CPU, 1 thread, fp32, channels_last`."""
    compute = session.compute
    if session.device == "cuda":
        place = f"running on {torch.cuda.get_device_name()}"
    else:
        why = "no GPU found: " if compute.device == "auto" else ""
        place = f"{why}running on the CPU, {session.threads} thread{'s' if session.threads > 1 else ''}"
        if session.threads < compute.threads:
            place += f" (compute.threads = {compute.threads}, but {' or '.join(TORCH_THREADS)} allows no more)"
    parts = [place, "fp32" if session.precision == "32-true" else "bf16"]
    parts += ["channels_last"] * session.channels_last + ["compiled"] * session.compile
    if session.world > 1:
        hosts = f"{compute.num_nodes} host{'s' if compute.num_nodes > 1 else ''}"
        parts.append(f"{session.world} devices on {hosts}")
    if compute.micro_batch is not None:
        parts.append(f"at most {compute.micro_batch} images at once")
    return ", ".join(parts)
