"""`dermflow decide` with real files, verdicts and MLflow; simulated studies take the place of trainings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from components.base.errors import RunError
from components.comparison import record
from components.comparison.comparison import compare_runs
from flows.commands import decide as command
from flows.commands.decide import ComparisonAtLook, JudgedLook, Looks, Plan, decide, reason_to_stop
from flows.presets import edit
from flows.settings import load_settings
from flows.stage_io.priors import read_priors
from flows.stage_io.question import build_question
from flows.stage_io.runs import read_complete_runs
from flows.tracking.mlflow_log import open_client, search_runs
from tests.unit.comparison.simulated_study import Truth, fabricate, settings, write_json

PLAN = Plan(
    study="x", arms=("vae", "imagenet"), protocols=("frozen",), reference="imagenet",
    confidence=0.95, margin=0.02, looks=(3, 5, 10),
)  # fmt: skip


def look(seeds: int, decided: bool = False, seconds: float = 600.0, **chances: float) -> JudgedLook:
    found = ComparisonAtLook(
        decided=decided, sentence=f"with {seeds} seeds", chances={int(key[1:]): p for key, p in chances.items()}
    )
    return JudgedLook(seeds=seeds, level=0.01, seconds=seconds, trained=3, comparisons={"vae-frozen": found})


def taken(*looks: JudgedLook) -> Looks:
    return Looks(plan=PLAN, taken=looks)


@pytest.mark.parametrize(
    ("looks", "minutes", "reason"),
    [
        (taken(), 0.0, None),
        (taken(look(3, decided=True)), 99.0, r"look 1 of 3 \(3 seeds\): every comparison is decided"),
        (taken(look(3), look(5), look(10)), 99.0, r"look 3 of 3 .*the last one: vae-frozen not decided"),
        (taken(look(3, s5=0.01, s10=0.2)), 99.0, None),  # one of the later looks may decide
        (taken(look(3, s5=0.01, s10=0.049)), 99.0, r"below 5.0 % \(5 seeds: 1.0 %, 10 seeds: 4.9 %\)"),
        (taken(look(3)), 99.0, None),  # no forecast
        (taken(look(3, s10=0.5)), 6.0, r"needs about 6.7 minutes, and 6.0 of the budget are left"),
        (taken(look(3, s10=0.5)), 7.0, None),
    ],
)
def test_no_look_follows_one_that_decides_or_is_futile_or_too_long(
    looks: Looks, minutes: float, reason: str | None
) -> None:
    found = reason_to_stop(looks, minutes)
    assert found is None if reason is None else re.search(reason, found or "")


def test_what_an_earlier_look_decided_stands() -> None:
    looks = taken(look(3, decided=True), look(5, decided=False))
    assert looks.open == []
    assert looks.lines() == ["Look 1: with 3 seeds"]
    assert taken(look(3), look(5)).lines() == ["Look 2: with 5 seeds"]


def _checkout(folder: Path, looks: list[int]) -> None:
    """params.yaml of a study with two arms and one protocol."""
    text = (folder / "params.yaml").read_text()
    for change in (f"compare.looks={looks}", "study.protocols=[frozen]", "study.arms=[vae, imagenet]"):
        text = edit(text, change)
    text = edit(edit(text, "study.name=looks"), "pretrain.arms={vae: {kind: random}, imagenet: {kind: random}}")
    (folder / "params.yaml").write_text(text)
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "reports" / command.FILE).unlink(missing_ok=True)


def _pipeline(right: float, seen: list[int]) -> Callable[[], int]:
    """Simulate the runs of the seeds in params.yaml, and compare them; no page is written."""

    def run() -> int:
        given = load_settings()
        truth = Truth(
            right={"vae": right, "imagenet": 0.7}, gap={"vae": 0.01, "imagenet": 0.01}, protocols=("frozen",),
            seeds=given.study.seeds, lesions=80, epochs=3, seed_spread=0.02, paths=given.paths, seed=2,
        )  # fmt: skip
        fabricate(truth, Path())
        simulated = settings(truth, looks=given.compare.looks, resamples=200)
        question = build_question(*(simulated[name] for name in ("study", "dataset", "labels", "compare")))
        priors = read_priors(truth.paths, simulated["labels"], simulated["finetune"])
        runs = read_complete_runs(simulated["study"], truth.paths)
        found = compare_runs(runs, question, simulated["compare"], priors, simulated["log"])
        write_json(truth.paths.reports / "comparison.json", record.as_record(found, simulated["evaluate"]))
        for seed in given.study.seeds[-1:]:
            given.paths.classifiers.mkdir(parents=True, exist_ok=True)
            (given.paths.classifiers / f"vae-frozen-{seed}.safetensors").touch()
        seen.append(len(given.study.seeds))
        return 0

    return run


def test_a_clear_difference_stops_at_the_first_look_and_stays_in_params_yaml_and_mlflow(plain_checkout: Path) -> None:
    _checkout(plain_checkout, [3, 4])
    seen: list[int] = []
    lines: list[str] = []
    found = decide(None, _pipeline(0.9, seen), lines.append)
    assert found == "Stopped after look 1 of 2 (3 seeds): every comparison is decided."
    assert seen == [3]
    assert lines[0] == "Look 1 of 2: 3 seeds, decided at level 0.0375"
    assert "Look 1: vae against imagenet, encoder frozen: superior" in lines[-1]
    assert YAML(typ="safe").load(Path("params.yaml").read_text())["study"]["seeds"] == [0, 1, 2]
    written = json.loads(Path("reports", command.FILE).read_text())
    assert written["taken"][0]["trained"] == 1 and written["plan"]["looks"] == [3, 4]
    (run,) = search_runs(open_client(), "tags.stage = 'decide'", limit=1)
    assert run.data.metrics["open"] == 0 and run.info.run_name == "look 1 of 2"
    assert decide(None, _pipeline(0.9, seen), lines.append) == found  # nothing more to do
    assert seen == [3]


def test_a_later_start_continues_and_a_changed_plan_is_refused(plain_checkout: Path) -> None:
    _checkout(plain_checkout, [3, 6])
    seen: list[int] = []
    run = _pipeline(0.7, seen)
    first = decide(0.0, run, print)  # the first look is always taken
    assert seen == [3] and "of the budget are left" in first
    last = decide(None, run, print)
    assert seen == [3, 6] and "the last one: vae-frozen not decided" in last
    assert load_settings().study.seeds == tuple(range(6))
    Path("params.yaml").write_text(edit(Path("params.yaml").read_text(), "compare.looks=[3, 6, 8]"))
    with pytest.raises(RunError, match=r"looks of another plan: looks was \[3, 6\], is \[3, 6, 8\]"):
        decide(None, run, print)


def test_a_study_without_planned_looks_and_a_failed_pipeline_are_refused(plain_checkout: Path) -> None:
    with pytest.raises(RunError, match=r"compare.looks is null, expected numbers of seeds"):
        decide(None, lambda: 0, print)
    _checkout(plain_checkout, [3, 4])
    with pytest.raises(RunError, match=r"look 1: the pipeline ended with exit status 1"):
        decide(None, lambda: 1, print)
    assert not Path("reports", command.FILE).exists()
