"""Parameter groups and schedule of AdamW, against numbers by hand."""

from __future__ import annotations

import math

import pytest
from torch import nn

from components.training.optimizers import adamw, share_of_peak


class Two(nn.Module):
    """A body and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 2)


def _rates(module: nn.Module, **given: object) -> dict[str, tuple[float, float]]:
    """Peak learning rate and weight decay by name."""
    optimizer = adamw(module, 0.1, 0.05, 10, **given)["optimizer"]
    found = {id(w): (g["initial_lr"], g["weight_decay"]) for g in optimizer.param_groups for w in g["params"]}
    return {name: found[id(weight)] for name, weight in module.named_parameters() if id(weight) in found}


def test_vectors_are_not_decayed_and_what_is_frozen_is_not_there():
    module = Two()
    module.body.bias.requires_grad_(False)
    assert _rates(module) == {"body.weight": (0.1, 0.05), "head.weight": (0.1, 0.05), "head.bias": (0.1, 0.0)}


def test_scales_multiply_the_learning_rate_and_the_peak_comes_first():
    module = Two()
    scales = {"body.weight": 0.25, "body.bias": 0.25}
    found = _rates(module, scales=scales)
    assert found["body.weight"] == (0.025, 0.05) and found["body.bias"] == (0.025, 0.0)
    assert found["head.weight"] == (0.1, 0.05) and found["head.bias"] == (0.1, 0.0)
    first = adamw(module, 0.1, 0.05, 10, scales=scales)["optimizer"].param_groups[0]
    assert first["initial_lr"] == 0.1


def test_scaled_groups_keep_their_share_over_the_schedule():
    given = adamw(Two(), 0.1, 0.05, 20, scales={"body.weight": 0.5})
    optimizer, schedule = given["optimizer"], given["lr_scheduler"]["scheduler"]
    for step in range(20):
        rates = {group["lr"] for group in optimizer.param_groups}
        peak = 0.1 * share_of_peak(step, 20)
        assert sorted(rates) == pytest.approx([peak / 2, peak])
        optimizer.step()
        schedule.step()


def test_the_schedule_rises_linearly_and_then_follows_a_half_cosine():
    shares = [share_of_peak(step, 110, warm_up=10 / 110) for step in range(110)]
    assert shares[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert shares[10:] == pytest.approx([0.5 * (1 + math.cos(math.pi * step / 100)) for step in range(100)])


def test_a_constant_schedule_stays_at_its_peak():
    assert [share_of_peak(step, 10, 0.2, "constant") for step in range(10)] == [0.5] + [1.0] * 9


def test_without_warm_up_the_first_step_has_the_peak():
    assert share_of_peak(0, 10, 0.0, "cosine") == 1.0
