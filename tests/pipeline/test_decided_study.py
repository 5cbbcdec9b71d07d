"""`dermflow decide` with real trainings: each look trains the seeds that are new, and no finished one again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import mlflow
import pytest

from tests.pipeline.conftest import Checkout

pytestmark = pytest.mark.thorough
CHANGES = (
    "study.arms=[random,pca]", "study.seeds=[0,1]", "study.reference=random",
    "compare.min_seeds=2", "compare.looks=[2,3]",
    "pretrain.arms={random: {kind: random}, pca: {kind: pca, components: 8, side: 16}}",
)  # fmt: skip


def weights(checkout: Checkout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (checkout.folder / "data" / "classifiers").glob("*.safetensors")}


def test_seeds_are_added_until_nothing_is_left_to_look_at(new_checkout: Callable[[], Checkout]) -> None:
    checkout = new_checkout()
    checkout.use(*CHANGES)
    first = checkout.run("-m", "flows.commands.cli", "decide", "--budget", "0")  # the first look is always taken
    assert "Look 1 of 2: 2 seeds, decided at level 0.0" in first.stdout
    trained = weights(checkout)
    assert sorted(trained) == sorted(f"{arm}-frozen-{seed}.safetensors" for arm in ("random", "pca") for seed in (0, 1))
    looks = json.loads((checkout.folder / "reports" / "looks.json").read_text())
    (taken,) = looks["taken"]
    assert (taken["seeds"], taken["trained"]) == (2, 2) and list(taken["comparisons"]) == ["pca-frozen"]
    if taken["comparisons"]["pca-frozen"]["decided"]:
        pytest.fail("six test lesions and two epochs decided; the test needs a study that one look leaves open")

    second = checkout.run("-m", "flows.commands.cli", "decide")
    found = json.loads((checkout.folder / "reports" / "looks.json").read_text())
    assert found["taken"][0] == taken
    futile = re.search(r"below 5.0 % \(3 seeds: ", second.stdout)
    if futile is None:
        assert "Look 2 of 2: 3 seeds" in second.stdout and len(found["taken"]) == 2
        assert found["taken"][1]["trained"] == 1  # of three seeds one is new
        after = weights(checkout)
        assert {name: after[name] for name in trained} == trained and len(after) == 6
        report = json.loads((checkout.folder / "reports" / "comparison.json").read_text())
        assert report["plan"]["seeds"] == [0, 1, 2]
    client = mlflow.MlflowClient(f"sqlite:///{checkout.folder}/mlruns/mlflow.db")
    everywhere = [each.experiment_id for each in client.search_experiments()]
    assert len(client.search_runs(everywhere, "tags.stage = 'decide'")) == len(found["taken"])
