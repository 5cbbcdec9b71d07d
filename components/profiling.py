"""Where a training's time goes: the phases of its steps by the clock, its layers by torch's profiler.

Two epochs of a bounded number of steps: the first is timed as it would run, the second is traced, which makes it
slower and says what each layer costs, backward passes included. A bare loop takes the steps; Lightning's own share is
measured in benchmarks/.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from components.batches import count_rows
from components.errors import TrainingError
from components.feeding import change_tensors
from components.files import whole
from components.session import Session

PHASES = ("data", "forward", "backward", "optimiser")
LAYER = "layer: "  # what a layer's range in the trace is called
NODE = "autograd::engine::evaluate_function: "  # what torch calls a backward pass of one operation


@dataclass(frozen=True)
class Cost:
    """One layer, or all layers of a class, in a step."""

    name: str
    what: str  # its class, or how many there are
    forward: float  # seconds a step
    backward: float

    @property
    def seconds(self) -> float:
        """Both passes."""
        return self.forward + self.backward


@dataclass(frozen=True)
class Profile:
    """What was found, in seconds a step."""

    steps: int
    images: int  # of all timed steps
    phases: Mapping[str, float]  # from the timed epoch
    traced: float  # a step of the traced epoch
    layers: Sequence[Cost]  # from the traced epoch, most expensive first
    classes: Sequence[Cost]

    @property
    def seconds(self) -> float:
        """A step."""
        return sum(self.phases.values())

    @property
    def images_per_second(self) -> float:
        """While it was timed."""
        return self.images / (self.seconds * self.steps)

    @property
    def data_wait(self) -> float:
        """Share of the time in which the device waited for images."""
        return self.phases["data"] / self.seconds


def profile_steps(
    module: pl.LightningModule, batches: Callable[[int], Iterable[Any]], session: Session, steps: int, trace: Path
) -> Profile:
    """Train `module` for one step that warms up, `steps` that are timed and `steps` that are traced into `trace`.

    `trace` can be opened in Perfetto (ui.perfetto.dev) or chrome://tracing. The module is changed by what it learns.
    """
    loop = _Loop(module, session)
    loop.epoch(batches(0), 1)
    phases, taken, images = loop.epoch(batches(0), steps)
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (session.device == "cuda")
    with _layers_named(module), profile(activities=activities, acc_events=True) as profiler:
        traced, retaken, _ = loop.epoch(batches(1), steps)
    with whole(trace) as unfinished:
        profiler.export_chrome_trace(str(unfinished))
    layers = _layer_costs(profiler.events(), dict(module.named_modules()), retaken, session.device)
    phases = {name: seconds / taken for name, seconds in phases.items()}
    return Profile(taken, images, phases, sum(traced.values()) / retaken, layers, _by_class(layers))


class _Loop:
    """The steps that `fit` takes, bare, with a clock."""

    def __init__(self, module: pl.LightningModule, session: Session) -> None:
        session.place(module)
        if session.compile:
            for child in module.children():
                child.compile()
        self.module, self.session = module.train(), session
        made: Any = module.configure_optimizers()
        self.optimizer, self.schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]

    def epoch(self, batches: Iterable[Any], steps: int) -> tuple[dict[str, float], int, int]:
        """Seconds in each phase, steps and images, of at most `steps` batches."""
        clock, taken, images = _Clock(self.session.device), 0, 0
        coming = islice(iter(batches), steps)
        while (batch := self._next(coming, clock)) is not None:
            self._step(batch, taken, clock)
            taken, images = taken + 1, images + count_rows(batch)
        if taken == 0:
            raise TrainingError("profile: there is no batch to take a step with; are any images packed for train?")
        return clock.seconds, taken, images

    def _next(self, coming: Iterator[Any], clock: _Clock) -> Any:
        with clock.phase("data"):
            batch = next(coming, None)
            if batch is not None and self.session.device == "cuda":
                batch = change_tensors(batch, lambda tensor: tensor.to("cuda", non_blocking=True))
            return batch

    def _step(self, batch: Any, number: int, clock: _Clock) -> None:
        with clock.phase("forward"), self.session.autocast():
            told: Any = self.module.training_step(batch, number)
            loss = told["loss"]
        with clock.phase("backward"):
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        with clock.phase("optimiser"):
            self.optimizer.step()
            self.schedule.step()


class _Clock:
    """Adds up the seconds of phases; a GPU is waited for at the end of each."""

    def __init__(self, device: str) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Also a range in the trace."""
        began = time.perf_counter()
        with record_function(name):
            yield
            self.wait()
        self.seconds[name] += time.perf_counter() - began


@contextmanager
def _layers_named(module: nn.Module) -> Iterator[None]:
    """Give each layer, a module without parts, a range of its name in the trace."""
    with ExitStack() as stack:
        for name, layer in module.named_modules():
            if name and not list(layer.children()):
                _name_layer(layer, name, stack)
        yield


def _name_layer(layer: nn.Module, name: str, stack: ExitStack) -> None:
    running: list[AbstractContextManager[Any]] = []

    def enter(*_: Any) -> None:
        running.append(record_function(LAYER + name))
        running[-1].__enter__()

    def leave(*_: Any) -> None:
        (running.pop() if running else nullcontext()).__exit__(None, None, None)

    stack.callback(layer.register_forward_pre_hook(enter).remove)
    stack.callback(layer.register_forward_hook(leave, always_call=True).remove)


def _layer_costs(events: Iterable[Any], modules: Mapping[str, nn.Module], steps: int, device: str) -> list[Cost]:
    """Both passes of each layer: what is done backward carries the number of the operation that it belongs to."""
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    events = list(events)
    owners = {event.sequence_nr: owner for event in events if (owner := _owner(event)) and event.sequence_nr >= 0}
    for event in events:
        if event.name.startswith(LAYER):
            seconds[event.name.removeprefix(LAYER)][0] += _duration(event, device)
        elif event.name.startswith(NODE) and event.sequence_nr in owners:
            seconds[owners[event.sequence_nr]][1] += _duration(event, device)
    costs = [
        Cost(name, type(modules[name]).__name__, forward / steps, backward / steps)
        for name, (forward, backward) in seconds.items()
    ]
    return sorted(costs, key=lambda cost: -cost.seconds)


def _owner(event: Any) -> str | None:
    """The layer in whose range the event lies."""
    while event is not None:
        if event.name.startswith(NODE):
            return None
        if event.name.startswith(LAYER):
            return str(event.name.removeprefix(LAYER))
        event = event.cpu_parent
    return None


def _duration(event: Any, device: str) -> float:
    """Seconds on the device, with all that the event called."""
    micros = event.device_time_total if device == "cuda" else event.cpu_time_total
    return float(micros) / 1e6


def _by_class(layers: Sequence[Cost]) -> list[Cost]:
    """Layers of one class added up."""
    together: dict[str, list[Cost]] = defaultdict(list)
    for cost in layers:
        together[cost.what].append(cost)
    sums = [
        Cost(what, f"{len(costs)}", sum(cost.forward for cost in costs), sum(cost.backward for cost in costs))
        for what, costs in together.items()
    ]
    return sorted(sums, key=lambda cost: -cost.seconds)


def describe(found: Profile, top: int = 12) -> list[str]:
    """The findings as lines to read."""
    head = (
        f"{found.images_per_second:.1f} img/s over {found.steps} steps of {1000 * found.seconds:.0f} ms; "
        f"waiting for images {found.data_wait:.1%}; while traced {1000 * found.traced:.0f} ms a step"
    )
    rows = [("phase", "", "ms a step", "share")]
    rows += [(name, "", *_amounts(seconds, found.seconds)) for name, seconds in found.phases.items()]
    lines = [head, "", *_table(rows), ""]
    for title, costs in (("class", found.classes), ("layer", found.layers[:top])):
        table = [(title, "layers" if title == "class" else "class", "forward", "backward", "both", "share of a step")]
        table += [(cost.name, cost.what, *_passes(cost), *_amounts(cost.seconds, found.traced)) for cost in costs]
        lines += [*_table(table), ""]
    return lines[:-1]


def _passes(cost: Cost) -> tuple[str, str]:
    return f"{1000 * cost.forward:.1f}", f"{1000 * cost.backward:.1f}"


def _amounts(seconds: float, of: float) -> tuple[str, str]:
    return f"{1000 * seconds:.1f}", f"{seconds / of:.1%}"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest entry: words left, numbers right."""
    widths = [max(len(entry) for entry in column) for column in zip(*rows, strict=True)]
    return ["  ".join(map(_padded, row, widths, range(len(row)))).rstrip() for row in rows]


def _padded(entry: str, width: int, place: int) -> str:
    return entry.ljust(width) if place < 2 else entry.rjust(width)
