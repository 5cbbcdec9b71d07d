"""The encoder's normalisation of images, made equal to that of published weights by changing its first convolution.

The encoder normalises with ImageNet's mean and standard deviation for every arm. Where published weights expect other
values, the first convolution compensates the difference, so that the network gets the values that it was trained on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.base.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

    from components.models.backbone import Normalisation
    from components.models.encoder import Encoder


def adopt_normalisation(encoder: Encoder, expected: Normalisation) -> None:
    """Change the first convolution in place: it undoes the encoder's normalisation and applies `expected`.

    With a = std / std', b = (mean - mean') / std', where ' marks the expected values: W (a x + b) = (W a) x + W b. The
    constant W b goes into the bias, or is subtracted from the running mean of the BatchNorm behind. Exact except at
    the zero-padded border.

    Raises:
        WeightsError: where the first layer is no convolution of three channels with a bias or a BatchNorm.
    """
    import torch

    mean, std = torch.tensor(expected.mean).view(1, 3, 1, 1), torch.tensor(expected.std).view(1, 3, 1, 1)
    own_mean, own_std = encoder.mean.cpu(), encoder.std.cpu()
    if torch.equal(mean, own_mean) and torch.equal(std, own_std):
        return
    convolution, constant = _first_convolution(encoder.trunk)
    with torch.no_grad():
        weight = convolution.weight
        offset = (weight * ((own_mean - mean) / std).to(weight)).sum(dim=(1, 2, 3))  # (C,)
        constant.add_(offset if constant is convolution.bias else -offset)
        weight.mul_((own_std / std).to(weight))


def _first_convolution(network: nn.Module) -> tuple[nn.Conv2d, Tensor]:
    """The convolution that reads pixels, and the vector that holds the constant: its bias or a running mean."""
    from torch import nn

    convolution = next((part for part in network.modules() if isinstance(part, nn.Conv2d)), None)
    if convolution is not None and convolution.in_channels == 3:
        if convolution.bias is not None:
            return convolution, convolution.bias
        norm = next((part for part in network.modules() if isinstance(part, nn.BatchNorm2d)), None)
        if norm is not None and norm.running_mean is not None:
            return convolution, norm.running_mean
    raise WeightsError("the encoder's first layer is no convolution of RGB that could adopt another normalisation")
