"""What the seeds of an arm vary: seen in the hashes of the encoders that its runs started from."""

from __future__ import annotations

from itertools import product

import pandas as pd
import pytest

from components.base.errors import DataError
from components.base.run_id import FinetuneProtocol, RunId
from components.comparison.pretraining_draws import pretraining_draws
from components.statistics.runs import Run


def runs(encoders: dict[str, list[str]]) -> list[Run]:
    """Runs of two protocols; of each arm the hash of its encoder, a seed each."""
    found = product([FinetuneProtocol.FROZEN, FinetuneProtocol.FULL], encoders.items())
    return [
        Run(RunId(arm, protocol, seed), pd.DataFrame(), summary={"encoder_sha256": digest})
        for protocol, (arm, digests) in found
        for seed, digest in enumerate(digests)
    ]


def test_an_arm_with_the_same_weights_for_every_seed_is_one_fixed_set() -> None:
    found = pretraining_draws(runs({"vae": ["a", "b", "c"], "imagenet": ["d", "d", "d"]}))
    assert found["imagenet"].draws == 1 and not found["imagenet"].is_complete
    assert found["imagenet"].words.startswith("one fixed set of weights")
    assert found["vae"].draws == 3 and found["vae"].is_complete
    assert found["vae"].words == "each seed draws the pretraining anew, so intervals include its variance"
    assert [each.seeds for each in found.values()] == [3, 3]


def test_one_seed_or_some_equal_ones_are_said_to_be_incomplete() -> None:
    found = pretraining_draws(runs({"one": ["a"], "some": ["a", "a", "b"]}))
    assert found["one"].words == "one seed, so one pretraining: its variance is in no interval"
    assert found["some"].words.startswith("2 sets of weights for 3 seeds")
    assert not any(each.is_complete for each in found.values())


def test_protocols_that_started_from_other_encoders_are_refused() -> None:
    given = runs({"vae": ["a", "b"]})
    given[3].summary["encoder_sha256"] = "other"
    with pytest.raises(DataError, match=r"run vae-full-1 and one .* encoders of vae-1 \(other and b\).*dvc repro -f"):
        pretraining_draws(given)


def test_a_run_without_the_hash_is_named() -> None:
    given = runs({"vae": ["a"]})
    del given[0].summary["encoder_sha256"]
    with pytest.raises(
        DataError, match=r"vae-frozen-0 lack encoder_sha256, expected a sha256; .*dvc repro -f finetune"
    ):
        pretraining_draws(given)
