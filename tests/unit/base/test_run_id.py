"""A run's name is written and read back in one place."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.base import run_id
from components.base.errors import SettingsError
from components.base.run_id import FinetuneProtocol, RunId

ARMS = st.from_regex(r"[a-z][a-z0-9_]*", fullmatch=True)
SHARES = st.floats(0.01, 1, exclude_min=True)


@given(ARMS, st.sampled_from(FinetuneProtocol), st.integers(0, 10**6), SHARES)
def test_a_name_read_back_is_the_run(arm: str, protocol: FinetuneProtocol, seed: int, share: float) -> None:
    run = RunId(arm, protocol, seed, share)
    assert RunId.parse(str(run)) == run


def test_a_run_on_all_lesions_does_not_name_its_share() -> None:
    run = RunId("vae", FinetuneProtocol.LPFT, 3)
    assert (str(run), run.conditions, run.model) == ("vae-lpft-3", "lpft-3", "vae-lpft")


@pytest.mark.parametrize("name", ["vae", "vae-frozen", "vae-melted-0", "vae-frozen-x", "vae-frozen-0-0.5-1", ""])
def test_a_name_of_no_run_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=r"is no name of a fine-tuning run, expected ARM-PROTOCOL-SEED"):
        RunId.parse(name)


def test_every_protocol_has_words() -> None:
    assert [each.description for each in FinetuneProtocol] == [
        "encoder frozen", "whole network trained", "head first, then all",
    ]  # fmt: skip


def test_examples_hold() -> None:
    assert doctest.testmod(run_id).attempted == 2
    assert doctest.testmod(run_id).failed == 0
