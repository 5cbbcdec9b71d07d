"""BatchNorm over several devices: means and variances of the whole batch, as if one device had it all.

Instances change their class and get it back afterwards, so that names, hooks and what subclasses hold, such as the
activation in timm's BatchNormAct2d, stay: torch's own conversion would drop that activation. B batch, C channels.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from pytorch_lightning.plugins.layer_sync import LayerSync
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

AFTER = ("drop", "act")  # what timm's BatchNormAct2d does next


class CommonStatistics(LayerSync):
    """For Lightning, while it trains on several devices."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Make the statistics of every BatchNorm in `model` common."""
        for module in model.modules():
            own: Any = type(module)
            if issubclass(own, _BatchNorm) and not issubclass(own, _Common):
                module.__class__ = _common(own)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Give every BatchNorm its own class back."""
        for module in model.modules():
            if isinstance(module, _Common):
                module.__class__ = type(module).own  # type: ignore[assignment]  # the very class that it had
        return model


class _Common(_BatchNorm):
    """What learns is as in the instance's own class; only where the batch's mean and variance come from differs."""

    own: type[_BatchNorm]
    process_group = None  # torch's SyncBatchNorm reads it; None: all

    def forward(self, inputs: Tensor) -> Tensor:
        """(B, C, ...) normalised over all devices' images; as ever where it does not learn."""
        if not self.training:
            plain: Tensor = super().forward(inputs)
            return plain
        on_gpu = inputs.device.type == "cuda"
        # torch's own forward on one of timm's BatchNorms, which has all that it asks for and is no SyncBatchNorm
        found = nn.SyncBatchNorm.forward(self, inputs) if on_gpu else self._normalise(inputs)  # type: ignore[arg-type]
        for name in AFTER:
            found = getattr(self, name)(found) if hasattr(self, name) else found
        return found

    def _normalise(self, inputs: Tensor) -> Tensor:
        """For CPUs, for which torch has none. The variance is that of what the common mean has been taken from."""
        dims, shape = [0, *range(2, inputs.ndim)], [1, -1] + [1] * (inputs.ndim - 2)
        values = inputs.float()
        count = values.new_tensor([values.numel() / values.shape[1]])
        sums = _add_up(torch.cat([values.sum(dims), count]))  # (C + 1,)
        mean, total = sums[:-1] / sums[-1], float(sums[-1].detach())
        centred = values - mean.view(shape)
        variance = _add_up(centred.square().sum(dims)) / total  # (C,)
        self._follow(mean.detach(), variance.detach() * total / max(1.0, total - 1))
        found = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            found = found * self.weight.view(shape) + self.bias.view(shape)
        return found.to(inputs.dtype)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, by the variance of a sample, as torch does."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


@cache
def _common(own: Any) -> Any:
    return type(f"Common{own.__name__}", (_Common, own), {"own": own})


class _Sum(torch.autograd.Function):
    """The sum over all devices; what each device's loss says of it adds up on the way back."""

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


def _add_up(values: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(values)
    return total
