"""The time of a training step: its phases by the clock, its layers by torch's profiler.

Two short epochs: the first is timed without the profiler, the second is traced, which is slower and gives the time of
each layer, backward passes included. Batches are prefetched as in a training. The steps are taken in a plain loop;
benchmarks/ measures the overhead of Lightning.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.autograd.profiler import record_function
from torch.profiler import ProfilerActivity, profile

from components.base.files import whole
from components.training.batches import count_rows
from components.training.prefetch import endless, prefetch
from components.training.session import Session

PHASES = ("data", "forward", "backward", "optimiser")
LAYER = "layer: "
"""Prefix of a layer's range in the trace."""

MIN_SHARE = 0.005
"""Of a step; classes of layers with a smaller share are added up as `others`."""

NODE = "autograd::engine::evaluate_function: "
"""Torch's prefix for the backward pass of one operation."""


@dataclass(frozen=True)
class LayerCost:
    """The time of one layer, or of several, in a step; the layers inside it are not counted."""

    name: str
    layer_class: str
    count: int
    """Number of layers."""
    forward: float
    """Seconds a step."""
    backward: float
    """Seconds a step."""

    @property
    def seconds(self) -> float:
        """Both passes."""
        return self.forward + self.backward


@dataclass(frozen=True)
class StepProfile:
    """The times of a step, in seconds."""

    steps: int
    """Timed steps; as many are traced."""
    images: int
    """Of all timed steps."""
    phases: Mapping[str, float]
    """Seconds a step, from the timed epoch."""
    traced: float
    """Seconds a step of the traced epoch."""
    layers: Sequence[LayerCost]
    """From the traced epoch, most expensive first; none where torch.compile joined them."""
    classes: Sequence[LayerCost]
    """The same, added up by class."""

    @property
    def seconds(self) -> float:
        """Of a step in the timed epoch."""
        return sum(self.phases.values())

    @property
    def images_per_second(self) -> float:
        """In the timed epoch."""
        return self.images / (self.seconds * self.steps)

    @property
    def data_wait(self) -> float:
        """Share of the time in which the device waited for a batch, in [0, 1]."""
        return self.phases["data"] / self.seconds


def profile_steps(
    module: pl.LightningModule,
    batches: Callable[[int], Iterable[Any]],
    session: Session,
    *,
    steps: int,
    trace: Path,
    frozen: Mapping[str, nn.Module] | None = None,
) -> StepProfile:
    """Train `module` for one warm-up step, `steps` timed steps and `steps` traced steps.

    Args:
        module: is changed by the training.
        batches: epoch number, from 0, to its batches.
        session: device, number format, seed.
        steps: in each of the two epochs.
        trace: file to write, for Perfetto (ui.perfetto.dev) or chrome://tracing.
        frozen: networks that a step uses and that are no part of `module`, such as a frozen encoder, by name.

    Raises:
        TrainingError: where there is no batch.
    """
    loop = _Loop(module, session)
    phases, images = loop.epoch(batches, steps, warm_up=1)
    named = {} if session.compile else _named({"": module, **(frozen or {})})
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (session.device == "cuda")
    with _layers_named(named), profile(activities=activities, acc_events=True) as profiler:
        traced, _ = loop.epoch(batches, steps)
    with whole(trace) as unfinished:
        profiler.export_chrome_trace(str(unfinished))
    layers = _layer_costs(profiler.events(), named, steps, session.device)
    phases = {name: seconds / steps for name, seconds in phases.items()}
    return StepProfile(
        steps=steps,
        images=images,
        phases=phases,
        traced=sum(traced.values()) / steps,
        layers=layers,
        classes=_by_class(layers),
    )


def _named(roots: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """All modules inside the roots by dotted names that start with the root's; a root without a name is left out."""
    pairs = [(root, *pair) for root, module in roots.items() for pair in module.named_modules()]
    return {".".join(filter(None, (root, name))): module for root, name, module in pairs if root or name}


class _Loop:
    """The steps of a training in a plain loop, with a clock."""

    def __init__(self, module: pl.LightningModule, session: Session) -> None:
        session.place(module)
        if session.compile:
            for child in module.children():
                child.compile()
        self.module, self.session = module.train(), session
        made: Any = module.configure_optimizers()
        self.optimizer, self.schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]

    def epoch(
        self, batches: Callable[[int], Iterable[Any]], steps: int, warm_up: int = 0
    ) -> tuple[dict[str, float], int]:
        """Seconds in each phase and number of images, over `steps` steps after the warm-up."""
        clock, images = _Clock(self.session.device), 0
        with closing(prefetch(islice(endless(batches), warm_up + steps), self.session.device)) as coming:
            for number in range(-warm_up, steps):
                if number == 0:
                    clock, images = _Clock(self.session.device), 0
                with clock.phase("data"):
                    batch = next(coming)
                self._step(batch, number, clock)
                images += count_rows(batch)
        return clock.seconds, images

    def _step(self, batch: Any, number: int, clock: _Clock) -> None:
        with clock.phase("forward"), self.session.autocast():
            terms: Any = self.module.training_step(batch, number)
            loss = terms["loss"]
        with clock.phase("backward"):
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        with clock.phase("optimiser"):
            self.optimizer.step()
            self.schedule.step()


class _Clock:
    """Adds up the seconds of each phase; it waits for a GPU at the end of a phase."""

    def __init__(self, device: str) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.wait: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time a block; it is a range in the trace, too."""
        began = time.perf_counter()
        with record_function(name):
            yield
            self.wait()
        self.seconds[name] += time.perf_counter() - began


@contextmanager
def _layers_named(named: Mapping[str, nn.Module]) -> Iterator[None]:
    """Give each layer a range with its name in the trace."""
    with ExitStack() as stack:
        for name, layer in named.items():
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


def _layer_costs(events: Iterable[Any], modules: Mapping[str, nn.Module], steps: int, device: str) -> list[LayerCost]:
    """Both passes of each layer, most expensive first.

    A layer's range contains those of the layers inside it, whose time is subtracted. Backward operations have the
    sequence number of the forward operation that they belong to.
    """
    seconds: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    events = list(events)
    owners = {event.sequence_nr: owner for event in events if (owner := _owner(event)) and event.sequence_nr >= 0}
    for event in events:
        if event.name.startswith(LAYER):
            seconds[event.name.removeprefix(LAYER)][0] += _duration(event, device)
            if around := _owner(event.cpu_parent):
                seconds[around][0] -= _duration(event, device)
        elif event.name.startswith(NODE) and event.sequence_nr in owners:
            seconds[owners[event.sequence_nr]][1] += _duration(event, device)
    costs = [
        LayerCost(name, type(modules[name]).__name__, 1, forward / steps, backward / steps)
        for name, (forward, backward) in seconds.items()
    ]
    return sorted(costs, key=lambda cost: -cost.seconds)


def _owner(event: Any) -> str | None:
    """The innermost layer whose range contains the event."""
    while event is not None:
        if event.name.startswith(NODE):
            return None
        if event.name.startswith(LAYER):
            return str(event.name.removeprefix(LAYER))
        event = event.cpu_parent
    return None


def _duration(event: Any, device: str) -> float:
    """Seconds on the device, including the operations that the event called."""
    micros = event.device_time_total if device == "cuda" else event.cpu_time_total
    return float(micros) / 1e6


def _by_class(layers: Sequence[LayerCost]) -> list[LayerCost]:
    """Layers added up by class, most expensive first."""
    grouped: dict[str, list[LayerCost]] = defaultdict(list)
    for cost in layers:
        grouped[cost.layer_class].append(cost)
    return sorted((_sum(name, costs) for name, costs in grouped.items()), key=lambda cost: -cost.seconds)


def describe(found: StepProfile, top: int = 12) -> list[str]:
    """Lines of text with tables of phases, classes of layers, and the `top` most expensive layers."""
    head = (
        f"{found.images_per_second:.1f} img/s over {found.steps} steps of {1000 * found.seconds:.0f} ms; "
        f"waiting for images {found.data_wait:.1%}; while traced {1000 * found.traced:.0f} ms a step"
    )
    rows = [("phase", "", "ms a step", "share")]
    rows += [(name, "", *_amounts(seconds, found.seconds)) for name, seconds in found.phases.items()]
    lines = [head, "", *_table(rows), ""]
    if not found.layers:
        return [*lines, "torch.compile joined the layers: the trace shows the compiled code"]
    for title, costs in (("class", _main_classes(found)), ("layer", found.layers[:top])):
        table = [(title, "layers" if title == "class" else "class", "forward", "backward", "both", "share of a step")]
        table += [
            (
                cost.name,
                f"{cost.count}" if title == "class" else cost.layer_class,
                *_passes(cost),
                *_amounts(cost.seconds, found.traced),
            )
            for cost in costs
        ]
        lines += [*_table(table), ""]
    return lines[:-1]


def _main_classes(found: StepProfile) -> list[LayerCost]:
    """The classes with a share of MIN_SHARE or more, the others added up, and the sum of all."""
    shown = [cost for cost in found.classes if cost.seconds >= MIN_SHARE * found.traced]
    others = [cost for cost in found.classes if cost not in shown]
    return [*shown, *([_sum("others", others)] if others else []), _sum("sum", found.classes)]


def _sum(name: str, costs: Sequence[LayerCost]) -> LayerCost:
    count = sum(cost.count for cost in costs)
    return LayerCost(name, name, count, sum(cost.forward for cost in costs), sum(cost.backward for cost in costs))


def _passes(cost: LayerCost) -> tuple[str, str]:
    return f"{1000 * cost.forward:.1f}", f"{1000 * cost.backward:.1f}"


def _amounts(seconds: float, of: float) -> tuple[str, str]:
    return f"{1000 * seconds:.1f}", f"{seconds / of:.1%}"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest entry, the first two aligned left, the others right."""
    widths = [max(len(entry) for entry in column) for column in zip(*rows, strict=True)]
    return ["  ".join(map(_padded, row, widths, range(len(row)))).rstrip() for row in rows]


def _padded(entry: str, width: int, place: int) -> str:
    return entry.ljust(width) if place < 2 else entry.rjust(width)
