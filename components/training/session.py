"""What the work runs on: device, number format, memory layout, threads; without Lightning, slow to import."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from components.base.errors import SettingsError
from components.base.log import Log
from components.models.backbone import CpuProfile
from components.training.checkpoints import forget_state

Device = Literal["cpu", "cuda"]
Precision = Literal["32-true", "bf16-mixed"]
Strategy = Literal["auto", "ddp", "ddp_find_unused_parameters_true"]

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h


@dataclass(frozen=True)
class Session:
    """What the work runs on, and where its resume state lives."""

    device: Device
    precision: Precision
    channels_last: bool
    compile: bool
    seed: int
    checkpoint: Path | None  # folder of the resume state; None: none is kept
    checkpoint_minutes: float | None = None  # a state within the epoch too, this often; None: at epochs' ends
    checkpoint_steps: int | None = None  # the same, in steps
    micro_batch: int | None = None  # images a device takes at once; None: its whole part of the batch
    devices: int = 1  # a host
    num_nodes: int = 1  # hosts
    strategy: Strategy = "auto"  # how devices work together, in Lightning's words

    @property
    def world(self) -> int:
        """How many devices work together, each with a process of its own."""
        return self.devices * self.num_nodes

    @property
    def rank(self) -> int:
        """Which of them this process is, as torchrun or Lightning's launcher says; 0 where there is one."""
        return find_rank(self.devices, self.num_nodes)

    @property
    def leads(self) -> bool:
        """Whether this process is the one that measures, tells and writes."""
        return self.rank == 0

    def place(self, module: nn.Module) -> None:
        """Move `module` to the device, its weights into the memory layout that is fast there."""
        module.to(self.device)
        if self.channels_last:
            module.to(memory_format=torch.channels_last)

    def forget(self) -> None:
        """Take the resume state away: what it led to is saved."""
        if self.checkpoint is not None and self.leads:
            forget_state(self.checkpoint)

    def autocast(self) -> torch.autocast:
        """The number format of this session, for passes outside `fit`."""
        return torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16-mixed")


def find_rank(devices: int, num_nodes: int) -> int:
    """Which of the processes on `num_nodes` hosts with `devices` each this one is; 0 leads."""
    if devices * num_nodes == 1:
        return 0
    node = int(os.environ.get("NODE_RANK", "0"))
    return int(os.environ.get("RANK", node * devices + int(os.environ.get("LOCAL_RANK", "0"))))


def open_session(
    device: Literal["auto", "cpu", "cuda"] = "auto",
    threads: int = 1,
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto",
    compile: bool = False,
    *,
    cpu: CpuProfile,
    seed: int,
    checkpoint: Path | None,
    log: Log,
    checkpoint_minutes: float | None = None,
    checkpoint_steps: int | None = None,
    micro_batch: int | None = None,
    devices: int = 1,
    num_nodes: int = 1,
    strategy: Strategy = "auto",
) -> Session:
    """Choose device and number format, set torch's threads and determinism, say in one line where it runs."""
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise SettingsError("compute.device = 'cuda': torch finds no GPU; set auto or cpu (params.yaml)")
    torch.set_num_threads(threads)
    _be_deterministic()
    on_gpu = found and device != "cpu"
    if not on_gpu:
        _keep_memory()
    if on_gpu and devices > torch.cuda.device_count():
        raise SettingsError(f"compute.devices = {devices}: torch finds {torch.cuda.device_count()} GPUs (params.yaml)")
    own = _best_on_gpu() if on_gpu else cpu.precision
    session = Session(
        device="cuda" if on_gpu else "cpu",
        precision=own if precision == "auto" else precision,
        channels_last=on_gpu or cpu.channels_last,
        compile=compile and on_gpu,
        seed=seed,
        checkpoint=checkpoint,
        checkpoint_minutes=checkpoint_minutes,
        checkpoint_steps=checkpoint_steps,
        micro_batch=micro_batch,
        devices=devices,
        num_nodes=num_nodes,
        strategy=strategy,
    )
    if on_gpu and session.world > 1:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))  # what "cuda" means in this process
    log.line(_describe(session, device, threads))
    return session


def _keep_memory() -> None:
    """Freed memory stays with the process; glibc would give it back and each step ask for it, cleared, again.

    That was 3 to 16 % of a ConvNeXt-Tiny step on a CPU, in 80,000 page faults. Other C libraries have no such call.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)  # large blocks too come from the heap,
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)  # whose end is not given back


def _best_on_gpu() -> Precision:
    return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"


def _be_deterministic() -> None:
    """Same seed, same machine, same bits; costs a GPU some speed, a CPU none."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for, before its first call
    torch.use_deterministic_algorithms(True)
    # No operation here reads memory that it did not write, so filling it first would only cost time.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # torch's stubs lack it
    torch.backends.cudnn.benchmark = False


def _describe(session: Session, asked: str, threads: int) -> str:
    """`no GPU found: running on the CPU, 1 thread, fp32, channels_last`."""
    if session.device == "cuda":
        place = f"running on {torch.cuda.get_device_name()}"
    else:
        why = "no GPU found: " if asked == "auto" else ""
        place = f"{why}running on the CPU, {threads} thread{'s' if threads > 1 else ''}"
    parts = [place, "fp32" if session.precision == "32-true" else "bf16"]
    parts += ["channels_last"] * session.channels_last + ["compiled"] * session.compile
    parts += [f"{session.world} devices on {session.num_nodes} host{'s' if session.num_nodes > 1 else ''}"] * (
        session.world > 1
    )
    parts += [f"at most {session.micro_batch} images at once"] * (session.micro_batch is not None)
    return ", ".join(parts)
