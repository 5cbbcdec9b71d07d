"""The stage compare on studies whose truth is known."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from components.base.errors import DataError
from components.comparison.outcomes import ACCURACY_TESTS
from components.comparison.overfitting_gap import onset
from components.statistics.significance import clustered_mcnemar, delong, holm
from flows.compare import compare
from tests.unit.comparison.simulated_study import Truth, fabricate, settings

RIGHT = {"vae": 0.70, "imagenet": 0.70}
GAP = {"vae": 0.01, "imagenet": 0.01}
SMALL = Truth(right=RIGHT, gap=GAP, protocols=("frozen",), lesions=60, epochs=3)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _answer(truth: Truth, **chosen: object) -> dict[str, object]:
    """Fabricate, compare, and give comparison.json."""
    fabricate(truth, Path())
    compare.work(**settings(truth, **chosen))
    answer: dict[str, object] = json.loads(Path("reports/comparison.json").read_text())
    return answer


def _outcome(answer: dict[str, object]) -> str:
    return answer["differences"][0]["verdict"]["outcome"]


def _edit(path: str, **changes: object) -> None:
    content = json.loads(Path(path).read_text())
    Path(path).write_text(json.dumps(content | changes))


@pytest.mark.parametrize(
    ("right", "gap", "outcome"),
    [
        (0.85, 0.01, "superior"),
        (0.85, 0.20, "superior, larger gap"),
        (0.50, 0.01, "inferior"),
        (0.55, -0.10, "inferior, smaller gap"),
    ],
)
def test_a_planted_difference_is_found(right: float, gap: float, outcome: str) -> None:
    truth = Truth(right=RIGHT | {"vae": right}, gap=GAP | {"vae": gap}, protocols=("frozen",))
    answer = _answer(truth)
    assert _outcome(answer) == outcome
    found = answer["differences"][0]["test"]["balanced_accuracy"]
    assert found["low"] < right - RIGHT["imagenet"] < found["high"]


@pytest.mark.parametrize("seed", range(5))
def test_equal_arms_are_not_called_different(seed: int) -> None:
    truth = Truth(right=RIGHT, gap=GAP, protocols=("frozen",), lesions=150, seed=seed)
    assert not re.match("superior|inferior|.*smaller gap", _outcome(_answer(truth)))


def test_arms_with_the_same_answers_are_equivalent() -> None:
    fabricate(SMALL, Path())
    measured = json.loads(Path("metrics/evaluate.json").read_text())
    for seed in SMALL.seeds:
        ours, theirs = f"vae-frozen-{seed}", f"imagenet-frozen-{seed}"
        Path(f"predictions/{ours}.parquet").write_bytes(Path(f"predictions/{theirs}.parquet").read_bytes())
        measured[ours] = measured[theirs]
    _edit("metrics/evaluate.json", **measured)
    compare.work(**settings(SMALL))
    answer = json.loads(Path("reports/comparison.json").read_text())
    assert answer["differences"][0]["test"]["balanced_accuracy"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert _outcome(answer) == "equivalent within margin"


def test_too_few_seeds_decide_nothing() -> None:
    truth = Truth(right=RIGHT | {"vae": 0.9}, gap=GAP, protocols=("frozen",), lesions=60, seeds=(0,))
    answer = _answer(truth)
    assert _outcome(answer) == "not decided: too few seeds"
    assert not answer["recommendation"]["recommended"]
    assert answer["rows"][0]["gaps"]["gap/loss"]["low"] is not None  # over lesions, as accuracy
    assert answer["rows"][0]["gaps"]["gap/macro_auroc"]["low"] is None  # over seeds


def test_a_look_decides_at_its_share_of_the_level() -> None:
    """Three seeds as the first of three looks, in proportion to the seeds: 0.05 * 3 / 10."""
    once, look = _answer(SMALL), _answer(SMALL, looks=(3, 5, 10))
    assert look["plan"]["rule"]["confidence"] == 0.985
    assert look["plan"]["rule"]["look"] == {"planned": [3, 5, 10], "number": 1, "overall": 0.05}
    narrow, wide = (each["differences"][0]["test"]["balanced_accuracy"] for each in (once, look))
    assert wide["low"] < narrow["low"] < narrow["high"] < wide["high"]
    assert "look 1 of 3, decided at level 0.015" in look["differences"][0]["verdict"]["sentence"]
    assert "98.5 % interval" in look["differences"][0]["verdict"]["sentence"]
    sentence = "Look 1 of 3, planned with 3, 5 and 10 seeds: decided at level 0.015, the share of 0.05"
    assert (
        sentence in Path("reports/comparison.html").read_text() and sentence in Path("reports/answer.txt").read_text()
    )


def test_val_chooses_even_where_test_disagrees() -> None:
    truth = Truth(right=RIGHT | {"vae": 0.85}, gap=GAP, protocols=("frozen",))
    fabricate(truth, Path())
    for path in Path("predictions").glob("vae-*.parquet"):  # on val alone, vae is made to be wrong
        table = pd.read_parquet(path)
        columns = ["p_bkl", "p_mel", "p_nv"]
        val = (table["split"] == "val").to_numpy()
        table.loc[val, columns] = np.roll(table.loc[val, columns].to_numpy(), 1, axis=1)
        table.to_parquet(path, index=False)
    compare.work(**settings(truth))
    answer = json.loads(Path("reports/comparison.json").read_text())
    assert answer["recommendation"]["chosen"] == "imagenet-frozen"
    assert _outcome(answer) == "superior"


def test_synthetic_images_recommend_nothing_and_say_what_they_are() -> None:
    given = settings(SMALL, synthetic=True)
    fabricate(SMALL, Path())
    compare.work(**given)
    assert given["log"].lines[0].startswith("SYNTHETIC, pipeline check, not evidence: vae against imagenet")
    assert "No recommendation: synthetic images" in given["log"].lines[1]
    assert given["log"].lines[-1] == "Look at reports/comparison.html"
    assert "SYNTHETIC DATA" in Path("reports/comparison.html").read_text()


def test_the_same_runs_give_the_same_bytes() -> None:
    _answer(SMALL)
    names = ("comparison.json", "comparison.csv", "comparison.html")
    first = {name: Path("reports", name).read_bytes() for name in names}
    compare.work(**settings(SMALL))
    assert {name: Path("reports", name).read_bytes() for name in names} == first


def test_another_seed_moves_the_intervals_a_little_and_the_means_not() -> None:
    first = _answer(SMALL)["differences"][0]["test"]["balanced_accuracy"]
    compare.work(**settings(SMALL, seed=1))
    other = json.loads(Path("reports/comparison.json").read_text())["differences"][0]["test"]["balanced_accuracy"]
    assert first["mean"] == other["mean"]
    assert first["low"] != other["low"]
    assert first["low"] == pytest.approx(other["low"], abs=0.05)


def test_table_and_metrics_say_what_the_runs_say() -> None:
    fabricate(SMALL, Path())
    metrics = compare.work(**settings(SMALL))
    table = pd.read_csv("reports/comparison.csv").set_index("arm")
    measured = json.loads(Path("metrics/evaluate.json").read_text())
    runs = [json.loads(Path(f"metrics/finetune/vae-frozen-{seed}.json").read_text()) for seed in SMALL.seeds]
    mean = np.mean([measured[f"vae-frozen-{seed}"]["balanced_accuracy"] for seed in SMALL.seeds])
    assert metrics["vae-frozen/balanced_accuracy"] == pytest.approx(mean, abs=1e-6)
    assert table.loc["vae", "test/balanced_accuracy"] == pytest.approx(mean, abs=1e-6)
    losses = [run["last"]["val/loss"] / run["first"]["val/loss"] - 1 for run in runs]
    assert table.loc["vae", "val/loss_change"] == pytest.approx(np.mean(losses), abs=1e-3)
    assert all(np.isfinite(value) for value in metrics.values())


def test_three_arms_and_two_protocols_are_corrected_together() -> None:
    truth = Truth(right=RIGHT | {"random": 0.66}, gap=GAP | {"random": 0.05}, lesions=120)
    differences = _answer(truth)["differences"]
    assert len(differences) == 4
    for question in ("differs", "above_margin", "below_margin", "gap"):
        for each in differences:
            test = each["tests"][question]
            assert min(1, test["p"]) <= test["holm"] <= min(1, 8 * test["p"]) + 1e-5  # one family of accuracy and gap
    gaps = [each["tests"]["gap"] for each in differences]
    others = [max(each["tests"][name]["p"] for name in ACCURACY_TESTS) for each in differences]
    assert [gap["holm"] for gap in gaps] == pytest.approx(holm([gap["p"] for gap in gaps] + others)[:4], abs=1e-5)
    corrected = [each["tests"]["differs"]["holm"] for each in differences]
    for each, p in zip(differences, corrected, strict=True):
        if re.match("superior|inferior|smaller gap, lower", each["verdict"]["outcome"]):
            assert p <= 0.05


def test_the_gap_is_that_of_the_curves() -> None:
    fabricate(SMALL, Path())
    compare.work(**settings(SMALL, onset=0.005))
    answer = json.loads(Path("reports/comparison.json").read_text())
    row = next(row for row in answer["rows"] if row["arm"] == "vae")
    curves = [pd.read_csv(f"curves/finetune/vae-frozen-{seed}.csv") for seed in SMALL.seeds]
    assert answer["epochs"] == {"frozen": 3}
    for name in ("loss", "accuracy", "balanced_accuracy", "macro_auroc"):
        columns = [curve[f"gap/{name}"] for curve in curves]
        assert row["gaps"][f"gap/{name}"]["mean"] == pytest.approx(np.mean([c.iloc[-1] for c in columns]), abs=1e-5)
        assert row["gap_areas"][f"gap/{name}"]["mean"] == pytest.approx(
            np.mean([np.trapezoid(c) for c in columns]), abs=1e-5
        )
    assert row["onsets"] == [onset(curve["gap/loss"].to_numpy(), 0.005) for curve in curves]
    (difference,) = answer["differences"]
    ends = [pd.read_csv(f"curves/finetune/imagenet-frozen-{seed}.csv") for seed in SMALL.seeds]
    for name in ("loss", "macro_auroc"):
        own, its = ([curve[f"gap/{name}"].iloc[-1] for curve in side] for side in (curves, ends))
        found = difference["gaps"][f"gap/{name}"]["common"]
        assert found["interval"]["mean"] == pytest.approx(np.mean(own) - np.mean(its), abs=1e-5)
        by_seeds = stats.ttest_rel(own, its).confidence_interval(0.95)
        if name == "loss":  # the losses of these studies hardly vary between lesions, so seeds make up the interval
            width = found["interval"]["high"] - found["interval"]["low"]
            assert width > 0.99 * (by_seeds.high - by_seeds.low)
            assert difference["tests"]["gap"]["p"] == found["p"]
            assert (found["p"] <= 0.05) == (found["interval"]["low"] > 0 or found["interval"]["high"] < 0)
        else:
            assert (found["interval"]["low"], found["interval"]["high"]) == pytest.approx(tuple(by_seeds), abs=1e-5)


def test_the_other_tests_are_those_of_their_functions() -> None:
    answer = _answer(SMALL)
    runs = {arm: [_test_rows(f"{arm}-frozen-{seed}") for seed in SMALL.seeds] for arm in RIGHT}
    labels, groups = runs["vae"][0][:2]
    p = {arm: [found[2] for found in each] for arm, each in runs.items()}
    other = answer["differences"][0]["other_tests"]
    expected = delong(labels, p["vae"], p["imagenet"], groups)
    assert other["delong"]["p"] == pytest.approx(expected.p, abs=1e-5)
    auroc = answer["differences"][0]["test"]["macro_auroc"]
    assert auroc["mean"] == pytest.approx(expected.difference, abs=1e-5)
    right = {arm: np.stack([each.argmax(1) == labels for each in found]) for arm, found in p.items()}
    assert other["mcnemar"]["p"] == pytest.approx(
        clustered_mcnemar(right["vae"], right["imagenet"], groups).p, abs=1e-5
    )
    assert other["permutation"] == pytest.approx(other["mcnemar"]["p"], abs=0.25)


def _test_rows(run: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = pd.read_parquet(f"predictions/{run}.parquet").query("split == 'test'").sort_values("image_id")
    labels = pd.Categorical(table["label"], categories=list(SMALL.classes)).codes.astype(int)
    return labels, table["group"].to_numpy(str), table[[f"p_{name}" for name in SMALL.classes]].to_numpy()


@pytest.mark.parametrize("file", ["curve", "summary"])
def test_a_run_without_a_value_is_named(file: str) -> None:
    fabricate(SMALL, Path())
    if file == "curve":
        path = Path("curves/finetune/vae-frozen-1.csv")
        pd.read_csv(path).drop(columns="gap/macro_auroc").to_csv(path, index=False)
    else:
        path = Path("metrics/finetune/vae-frozen-1.json")
        content = json.loads(path.read_text())
        del content["last"]["val/loss"]
        path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"vae-frozen-1 lacks? (gap/macro_auroc|val/loss).*dvc repro -f finetune"):
        compare.work(**settings(SMALL))


def test_without_a_margin_nothing_is_planned_and_nothing_is_equivalent() -> None:
    answer = _answer(SMALL, margin=0.0)
    assert answer["differences"][0]["need"] is None
    assert not re.match("equivalent|non-inferior", _outcome(answer))


def test_arms_that_met_other_batches_are_not_compared() -> None:
    fabricate(SMALL, Path())
    _edit("metrics/finetune/imagenet-frozen-1.json", batches_sha256="f" * 64)
    with pytest.raises(DataError, match=r"vae-frozen-1 and imagenet-frozen-1 differ in batches_sha256 .*ffffffffffff"):
        compare.work(**settings(SMALL))
    assert not Path("reports/comparison.html").exists()


def test_a_run_without_fingerprints_is_named() -> None:
    fabricate(SMALL, Path())
    path = Path("metrics/finetune/vae-frozen-2.json")
    content = json.loads(path.read_text())
    del content["head_init_sha256"]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"vae-frozen-2 lack head_init_sha256.*dvc repro -f finetune"):
        compare.work(**settings(SMALL))


def test_runs_with_other_test_images_are_not_compared() -> None:
    fabricate(SMALL, Path())
    path = Path("predictions/imagenet-frozen-0.parquet")
    pd.read_parquet(path).iloc[:-1].to_parquet(path, index=False)
    with pytest.raises(DataError, match=r"imagenet-frozen-0 and vae-frozen-0 hold different test images"):
        compare.work(**settings(SMALL))


def test_predictions_of_other_classes_are_named() -> None:
    fabricate(SMALL, Path())
    path = Path("predictions/vae-frozen-0.parquet")
    pd.read_parquet(path).drop(columns="p_mel").to_parquet(path, index=False)
    with pytest.raises(DataError, match=r"vae-frozen-0: .* missing columns \['p_mel'\].*the classes of labels.scheme"):
        compare.work(**settings(SMALL))


def test_stale_test_metrics_are_found() -> None:
    fabricate(SMALL, Path())
    measured = json.loads(Path("metrics/evaluate.json").read_text())
    _edit("metrics/evaluate.json", **{"vae-frozen-0": measured["vae-frozen-0"] | {"accuracy": 0.123}})
    with pytest.raises(DataError, match=r"says accuracy 0.1230 of vae-frozen-0.*stale"):
        compare.work(**settings(SMALL))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("curves/finetune/vae-frozen-0.csv", r"for every run of study \(params.yaml\); dvc repro finetune"),
        ("predictions/vae-frozen-0.parquet", r"for every run of study \(params.yaml\); dvc repro evaluate"),
        ("predictions/lesion_share.csv", "next to the predictions; dvc repro evaluate"),
    ],
)
def test_a_missing_file_is_named(path: str, expected: str) -> None:
    fabricate(SMALL, Path())
    Path(path).unlink()
    with pytest.raises(DataError, match=f"{path} is missing, expected {expected} makes it"):
        compare.work(**settings(SMALL))


def test_a_run_that_evaluate_did_not_see_is_named() -> None:
    fabricate(SMALL, Path())
    Path("metrics/evaluate.json").write_text("{}")
    with pytest.raises(DataError, match=r"metrics/evaluate.json lacks vae-frozen-0, has \[\]"):
        compare.work(**settings(SMALL))


def test_metrics_that_are_no_json_are_named() -> None:
    fabricate(SMALL, Path())
    Path("metrics/finetune/vae-frozen-0.json").write_text("{")
    with pytest.raises(DataError, match=r"metrics/finetune/vae-frozen-0.json: cannot be read .*expected JSON"):
        compare.work(**settings(SMALL))
