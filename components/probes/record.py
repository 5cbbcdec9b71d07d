"""The probes as plain data: the JSON record next to the page, and the metrics that are compared from run to run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from components.base.json_data import plain
from components.probes.against_reference import ProbeDifference
from components.probes.analysis import ArmProbes


def as_record(
    arms: Sequence[ArmProbes], differences: Sequence[ProbeDifference], *, train_images: int, val_images: int
) -> dict[str, Any]:
    """JSON-able data: numbers in full, null for values that are not known; without the probabilities of images."""
    record: dict[str, Any] = plain(
        {
            "train_images": train_images,
            "val_images": val_images,
            "arms": [_arm(each) for each in arms],
            "differences": [asdict(each) for each in differences],
        }
    )
    return record


def _arm(arm: ArmProbes) -> dict[str, Any]:
    found = asdict(arm)
    for encoder in found["encoders"]:
        del encoder["on_val"]
    return found


def as_metrics(arms: Sequence[ArmProbes]) -> dict[str, float]:
    """By `ARM/...`: means over seeds of all stages together, the best stage's, and the number of alarms."""
    return {
        f"{each.arm}/{name}": value
        for each in arms
        for name, value in {
            "balanced_accuracy": each.accuracy.mean,
            "macro_auroc": each.auroc.mean,
            "best_stage": max(
                sum(probes.stages[place].balanced_accuracy for probes in each.encoders) / len(each.encoders)
                for place in range(len(each.encoders[0].stages))
            ),
            "last_map": sum(probes.stages[-1].balanced_accuracy for probes in each.encoders) / len(each.encoders),
            "alarms": float(len(each.alarms)),
        }.items()
    }
