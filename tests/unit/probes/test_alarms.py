"""Alarms of several seeds: those that differ only in their numbers are one."""

from __future__ import annotations

from components.probes.alarms import group_alarms

COLLAPSE = "posterior collapse: {} of 64 latents are active (expected 50% or more), the KL is {} nats an image"


def test_alarms_that_differ_only_in_numbers_are_one_with_their_range() -> None:
    raised = {0: [COLLAPSE.format(3, "0.42")], 1: [COLLAPSE.format(12, "0.40")], 2: [COLLAPSE.format(5, "1.10")]}
    assert group_alarms(raised) == (COLLAPSE.format("3 to 12", "0.40 to 1.10"),)


def test_an_alarm_of_some_seeds_names_them() -> None:
    dead = "dead decoder: reconstructions of val explain no more than the mean image ({}% of variance)"
    raised = {3: [dead.format("-0.5")], 4: [], 7: [dead.format("-1.2"), "not converged"]}
    assert group_alarms(raised) == (dead.format("-1.2 to -0.5") + " (seeds 3, 7)", "not converged (seed 7)")


def test_equal_alarms_and_those_of_one_seed_stay_as_they_are() -> None:
    assert group_alarms({0: ["a: 3 %"], 1: ["a: 3 %"]}) == ("a: 3 %",)
    assert group_alarms({5: ["a: 3 %", "b: 1 %"]}) == ("a: 3 %", "b: 1 %")
    assert group_alarms({0: [], 1: []}) == ()
