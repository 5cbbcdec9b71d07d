"""train_step_vs_timm_eager, gram_depthwise_vs_stock, share_of_cpu_peak: a ConvNeXt-Tiny training step at 64 px.

Measured in turn: our step (bfloat16 autocast, channels_last, `GramDepthwise`, fused AdamW), the same with stock
depthwise layers, timm's network in eager float32 as its users write the step, and a square bfloat16 `torch.mm` as the
peak. timm's batch is prepared as normalized floats, ours starts from uint8.

The share counts the operations of the stock step, so the additional ones of `GramDepthwise` do not raise it. How close
any step can come to the peak depends on the CPU: with AMX (`amx_bf16` in /proc/cpuinfo, 1.2 TFLOP/s per core here)
matrix products are so fast that most of a step is memory traffic. `share_of_cpu_peak_products` is reached by the
matrix products of the step alone, and so is the bound for a step in which everything else takes no time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from benchmarks.measure import Result, rounds, summarise
from benchmarks.trainings import open_cpu_session
from components.models.backbones.convnext_tiny import Config as ConvNeXtTiny
from components.models.classifier import Classifier, build_head
from components.models.depthwise import GramDepthwise
from components.training.learner import Learner
from components.training.losses import build_objective
from components.training.optimizers import adamw
from components.training.session import Session

BATCH, SIZE, CLASSES = 64, 64, 7
RATE, DECAY = 1e-4, 0.05
SIDE, PRODUCTS = 1024, 50  # side of the square product that gives the peak, and how many are timed together
COMMAND = "python -m benchmarks train_step"

Step = Callable[[], object]


def run() -> list[Result]:
    session()
    with Products() as products:
        ours(gram=False)()
    ways = ours(gram=True), ours(gram=False), timm_eager(), peak, products.repeat
    gram, stock, timm, square, parts = (np.array(column) for column in zip(*rounds(*ways), strict=True))
    flops, peak_rate = count_flops(ways[1]), 2 * SIDE**3 * PRODUCTS / square
    share, bound = 100 * flops / gram / peak_rate, 100 * products.flops() / parts / peak_rate
    return [
        summarise("train_step_vs_timm_eager", (timm / gram).tolist(), "at least 1.9", "x", COMMAND),
        summarise("gram_depthwise_vs_stock", (stock / gram).tolist(), "at least 1.25", "x", COMMAND),
        summarise("share_of_cpu_peak", share.tolist(), "at least 55", "%", COMMAND),
        summarise("share_of_cpu_peak_products", bound.tolist(), "none: a bound", "%", COMMAND),
    ]


def session() -> Session:
    """As a training opens it; its settings hold for the whole process, so for timm too."""
    return open_cpu_session(ConvNeXtTiny().cpu)


def batch() -> tuple[Tensor, Tensor]:
    """(B, 3, S, S) uint8, channels_last as the loader gives them, and (B,) classes."""
    images = np.random.default_rng(0).integers(0, 256, (BATCH, SIZE, SIZE, 3), dtype=np.uint8)
    return torch.from_numpy(images).permute(0, 3, 1, 2), torch.arange(BATCH) % CLASSES


def ours(gram: bool) -> Step:
    """A step of fine-tuning; without `gram` its depthwise layers are stock ones."""
    torch.manual_seed(0)
    encoder = ConvNeXtTiny().build()
    layers = [layer for layer in encoder.modules() if type(layer) is GramDepthwise]
    assert layers, "no Gram depthwise layer found"
    for layer in layers if not gram else ():
        layer.__class__ = nn.Conv2d
    classifier = Classifier(encoder, build_head(encoder.feature_sizes, 256, 0.2, CLASSES, seed=0))
    objective = build_objective("none", np.arange(CLASSES), CLASSES, 2.0)
    build_optimizer = partial(adamw, learning_rate=RATE, weight_decay=DECAY, total_steps=999)
    learner = Learner(classifier, trains="all", objective=objective, build_optimizer=build_optimizer).train()
    within = session()
    assert within.precision == "bf16-mixed", "this CPU has no avx512_bf16 or amx_bf16: nothing to measure"
    within.place(learner)
    optimizer, images = learner.configure_optimizers()["optimizer"], batch()

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with within.autocast():
            loss = learner.training_step(images, 0)["loss"]
        loss.backward()
        optimizer.step()

    return step


def timm_eager() -> Step:
    """timm's network, optimizer and usual order of calls."""
    import timm
    from timm.optim import create_optimizer_v2

    torch.manual_seed(0)
    net = timm.create_model("convnext_tiny", num_classes=CLASSES).train()
    optimizer = create_optimizer_v2(net, opt="adamw", lr=RATE, weight_decay=DECAY)
    images, labels = batch()
    ready = ((images.float() / 255 - 0.45) / 0.225).contiguous()  # (B, 3, S, S), channels first

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(net(ready), labels).backward()
        optimizer.step()

    return step


def peak() -> None:
    a, b = (torch.ones(SIDE, SIDE, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(PRODUCTS):
        torch.mm(a, b)


def count_flops(step: Step) -> int:
    """Of one step, backward included; a multiplication and its addition count as two."""
    formulas = {torch.ops.aten.convolution_backward: convolution_backward}
    with FlopCounterMode(display=False, custom_mapping=formulas) as counter:
        step()
    return int(counter.get_total_flops())


def convolution_backward(gradient: Any, images: Any, weight: Any, *rest: Any, **_: Any) -> int:
    """Each of the two gradients costs as much as the forward pass.

    The formula of torch 2.15 counts a depthwise layer's weight gradient as if all pairs of channels were multiplied.
    """
    wanted = rest[-1]  # of image, weight, bias
    return int(conv_flop_count(images, weight, gradient)) * sum(wanted[:2])


class Products(TorchDispatchMode):
    """Records the matrices that are multiplied in its block: sizes and strides."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if call.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm):
            a, b = args[-2:]
            self.found.append((torch.ones_like(a), torch.ones_like(b)))  # the same strides
        return call(*args, **(kwargs or {}))

    def repeat(self) -> None:
        for a, b in self.found:
            torch.mm(a, b)

    def flops(self) -> int:
        return sum(2 * a.shape[0] * a.shape[1] * b.shape[1] for a, b in self.found)
