"""The probes of every encoder of a study: by stage, by arm over seeds, and what an arm should be above.

M maps of an encoder, N images, S seeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components.models.encoder import Encoder, pool
from components.probes.linear import Labels, Probabilities, Probed, measure, predict, probe
from components.statistics.intervals import Interval, student_interval

TOGETHER = "all stages"
"""Name of the features of all maps side by side."""


@dataclass(frozen=True)
class LabelledFeatures:
    """Pooled features of one set of images."""

    maps: tuple[np.ndarray[Any, np.dtype[np.float32]], ...]
    """Of each map, (N, C)."""
    labels: Labels  # (N,)


@dataclass(frozen=True)
class EncoderProbes:
    """The probes of one encoder."""

    arm: str
    seed: int
    stages: tuple[Probed, ...]
    """Of each map, from the one nearest to the image to the last."""
    together: Probed
    """Of all maps side by side."""
    on_val: Probabilities = field(compare=False, repr=False)
    """(M, K) of the probe of all maps, for the M val images."""

    @property
    def best(self) -> int:
        """The stage with the highest balanced accuracy on val, from 1."""
        return 1 + int(np.argmax([each.balanced_accuracy for each in self.stages]))


@dataclass(frozen=True)
class ArmProbes:
    """The probes of one arm over the study's seeds."""

    arm: str
    encoders: tuple[EncoderProbes, ...]
    """One a seed."""
    accuracy: Interval
    """Balanced accuracy of all stages together on val, over seeds."""
    auroc: Interval
    """Macro AUROC of the same."""
    alarms: tuple[str, ...]
    """What is wrong with the pretraining, in sentences; none where nothing was found."""

    @property
    def is_fixed(self) -> bool:
        """Whether all seeds gave the same values, as those of published weights do."""
        values = [(each.stages, each.together) for each in self.encoders]
        return all(each == values[0] for each in values)


@torch.no_grad()
def pooled_maps(encoder: Encoder, batches: Iterable[Tensor], labels: Labels) -> LabelledFeatures:
    """The pooled maps of uint8 batches (B, 3, S, S), computed in evaluation mode on the encoder's device."""
    encoder.eval()
    device = encoder.mean.device
    pooled = [[pool(each).float().cpu() for each in encoder.maps(batch.to(device).float() / 255)] for batch in batches]
    return LabelledFeatures(tuple(torch.cat(each).numpy() for each in zip(*pooled, strict=True)), labels)


def probe_encoder(arm: str, seed: int, train: LabelledFeatures, val: LabelledFeatures) -> EncoderProbes:
    """Probe each map of an encoder, and all of them side by side."""
    stages = tuple(probe(own, train.labels, other, val.labels) for own, other in zip(train.maps, val.maps, strict=True))
    sides = [np.concatenate(each.maps, axis=1) for each in (train, val)]
    on_train, on_val = predict(sides[0], train.labels, sides[1])
    together = measure(on_train, train.labels, on_val, val.labels, sides[1])
    return EncoderProbes(arm, seed, stages, together, on_val)


def summarise(
    probes: Sequence[EncoderProbes],
    *,
    floors: Sequence[str],
    found: Mapping[str, Sequence[str]],
    confidence: float,
) -> list[ArmProbes]:
    """The probes by arm, with alarms.

    Args:
        probes: of every arm, with the same seeds.
        floors: arms that every other one should be above, such as random weights and baselines.
        found: by arm, the alarms that its pretraining gave itself.
        confidence: of the intervals over seeds.
    """
    by_arm = {arm: tuple(each for each in probes if each.arm == arm) for arm in dict.fromkeys(p.arm for p in probes)}
    return [
        ArmProbes(
            arm,
            own,
            accuracy=student_interval(_accuracies(own), confidence),
            auroc=student_interval(np.array([each.together.macro_auroc for each in own]), confidence),
            alarms=(
                *found.get(arm, ()),
                *(
                    _below(own, floor, by_arm[floor], confidence)
                    for floor in floors
                    if arm not in floors and _accuracies(own).mean() <= _accuracies(by_arm[floor]).mean()
                ),
            ),
        )
        for arm, own in by_arm.items()
    ]


def _accuracies(probes: Sequence[EncoderProbes]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([each.together.balanced_accuracy for each in probes])


def _below(own: Sequence[EncoderProbes], floor: str, others: Sequence[EncoderProbes], confidence: float) -> str:
    mine, its = _accuracies(own), _accuracies(others)
    difference = student_interval(mine - its, confidence)
    ends = (
        f", interval over seeds {100 * difference.low:+.1f} to {100 * difference.high:+.1f}" if difference.known else ""
    )
    return (
        f"not above {floor}: balanced accuracy of the probe on val {100 * mine.mean():.1f} %, of {floor} "
        f"{100 * its.mean():.1f} % ({100 * difference.mean:+.1f} points{ends})"
    )
