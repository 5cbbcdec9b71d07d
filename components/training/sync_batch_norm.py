"""BatchNorm over several devices: mean and variance of the whole batch, as if one device had computed it.

Modules change their class during training and get it back afterwards. So names, hooks and attributes of subclasses,
such as the activation of timm's BatchNormAct2d, are kept; torch's own conversion would lose that activation.

B batch, C channels.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from pytorch_lightning.plugins.layer_sync import LayerSync
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

LAYERS_AFTER = ("drop", "act")
"""Attributes of timm's BatchNormAct2d that it applies after the normalization."""


class CommonStatistics(LayerSync):
    """Lightning's plugin for training on several devices."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Give every BatchNorm in `model` the statistics of all devices."""
        for module in model.modules():
            own: Any = type(module)
            if issubclass(own, _BatchNorm) and not issubclass(own, _CommonBatchNorm):
                module.__class__ = _common(own)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Give every BatchNorm its original class."""
        for module in model.modules():
            if isinstance(module, _CommonBatchNorm):
                module.__class__ = type(module).own  # type: ignore[assignment]  # the class that it had
        return model


class _CommonBatchNorm(_BatchNorm):
    """As the module's own class, except that mean and variance are those of the batches of all devices."""

    own: type[_BatchNorm]
    process_group = None  # read by torch's SyncBatchNorm; None: all processes

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs (B, C, ...) normalized over the images of all devices; in evaluation mode as BatchNorm does."""
        if not self.training:
            plain: Tensor = super().forward(inputs)
            return plain
        on_gpu = inputs.device.type == "cuda"
        # torch's own forward, on a BatchNorm of timm, which has all attributes that it needs but is no SyncBatchNorm
        found = nn.SyncBatchNorm.forward(self, inputs) if on_gpu else self._normalize(inputs)  # type: ignore[arg-type]
        for name in LAYERS_AFTER:
            found = getattr(self, name)(found) if hasattr(self, name) else found
        return found

    def _normalize(self, inputs: Tensor) -> Tensor:
        """For CPUs, where torch has none. The variance is computed after the common mean is subtracted."""
        dims, shape = [0, *range(2, inputs.ndim)], [1, -1] + [1] * (inputs.ndim - 2)
        values = inputs.float()
        count = values.new_tensor([values.numel() / values.shape[1]])
        sums = _sum_over_devices(torch.cat([values.sum(dims), count]))  # (C + 1,)
        mean, total = sums[:-1] / sums[-1], float(sums[-1].detach())
        centered = values - mean.view(shape)
        variance = _sum_over_devices(centered.square().sum(dims)) / total  # (C,)
        self._update_running(mean.detach(), variance.detach() * total / max(1.0, total - 1))
        found = centered * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            found = found * self.weight.view(shape) + self.bias.view(shape)
        return found.to(inputs.dtype)

    def _update_running(self, mean: Tensor, variance: Tensor) -> None:
        """Update the running statistics with the unbiased variance, as torch does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        for running, value in ((self.running_mean, mean), (self.running_var, variance)):
            running.mul_(1 - share).add_(value.to(running.dtype), alpha=share)  # unlike lerp, it keeps infinity


@cache
def _common(own: Any) -> Any:
    return type(f"Common{own.__name__}", (_CommonBatchNorm, own), {"own": own})


class _Sum(torch.autograd.Function):
    """The sum over all devices; its gradient is the sum of the gradients of all devices."""

    @staticmethod
    def forward(_context: Any, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        distributed.all_reduce(total)
        return total


def _sum_over_devices(values: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(values)
    return total
