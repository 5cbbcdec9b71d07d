"""The gap on resampled train and val lesions: closed forms, a loop over resamples, and studies with known truth."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import overfitting_gap as simulation
from benchmarks.overfitting_gap import WEIGHTS, World, draw_study, simulate
from components.base.errors import DataError
from components.base.run_id import FinetuneProtocol, RunId
from components.comparison.epoch_images import SPLITS, EpochImages, read_epoch_images
from components.comparison.overfitting_gap import GAPS, at_position, places, shared_epochs
from components.comparison.resampled_gap import ResampledGaps, at_equal_loss, reach
from components.statistics.class_means import LesionResamples
from components.statistics.runs import Run
from tests.unit.comparison.simulated_study import Truth, simulate_comparison

SMALL = World("", 2, val=(12, 7))
TRUTH = Truth(right={"vae": 0.7, "imagenet": 0.7}, gap={"vae": 0.02, "imagenet": 0.3}, lesions=30, epochs=4)


def test_a_resample_is_a_mean_over_the_images_of_its_lesions() -> None:
    gaps, runs = draw_study(SMALL, 40, np.random.default_rng(0))
    (run, *_), images = runs[0], gaps.images[runs[0][0].name]
    sample = gaps.measure(run, WEIGHTS)[0]["gap/loss"]
    for column in range(40):
        sides = []
        for split, resamples in (("val", gaps.val), ("train", gaps.train)):
            own = images[split]
            times = resamples.counts[np.searchsorted(resamples.groups, own.groups), column].astype(int)
            drawn = np.repeat(np.arange(len(times)), times)
            means = [own.losses[drawn][own.labels[drawn] == k].mean() for k in (0, 1)]
            sides.append(np.average(means, weights=np.bincount(own.labels)))
        assert sample.resampled[column] == pytest.approx(sides[0] - sides[1])


def test_the_jackknife_leaves_out_one_lesion_of_either_set() -> None:
    gaps, runs = draw_study(SMALL, 10, np.random.default_rng(1))
    (run, *_), images = runs[0], gaps.images[runs[0][0].name]
    sample = gaps.measure(run, WEIGHTS)[0]["gap/balanced_accuracy"]
    assert len(sample.omitted) == len(gaps.strata) == len(gaps.val.groups) + len(gaps.train.groups)

    def errors(split: str, without: object) -> float:
        own = images[split]
        kept = own.groups != without
        return float(np.mean([own.wrong[kept & (own.labels == k)].mean() for k in (0, 1)]))

    assert sample.value == pytest.approx(errors("val", -1) - errors("train", -1))
    expected = [errors("val", group) - errors("train", -1) for group in gaps.val.groups]
    expected += [errors("val", -1) - errors("train", group) for group in gaps.train.groups]
    assert sample.omitted == pytest.approx(expected)


def test_the_variance_is_that_of_independent_means() -> None:
    """One image a lesion: the variance of a stratified mean is the sum of s^2 / n by class, by its share squared."""
    rng = np.random.default_rng(2)
    labels, losses = np.repeat([0, 1], [60, 30]), rng.normal(1, 0.3, (2, 90))
    resamples = [LesionResamples.draw(np.arange(90), labels, 20_000, rng) for _ in SPLITS]
    images = {
        split: EpochImages(np.arange(90), np.arange(90), labels, mine[:, None], np.zeros((90, 1)))
        for split, mine in zip(SPLITS, losses, strict=True)
    }
    run = Run(RunId("a", FinetuneProtocol.FULL, 0), pd.DataFrame(), curve=pd.DataFrame({key: [0.0] for key in GAPS}))
    gaps = ResampledGaps(resamples[1], resamples[0], {run.name: images}, 2, 0.95)
    sample = gaps.measure(run, WEIGHTS)[0]["gap/loss"]
    expected = sum(
        (count / 90) ** 2 * mine[labels == k].var() / count for mine in losses for k, count in enumerate((60, 30))
    )
    assert sample.value == pytest.approx(losses[1].mean() - losses[0].mean())
    assert sample.resampled.var() == pytest.approx(expected, rel=0.04)


def test_arms_with_the_same_results_do_not_differ() -> None:
    gaps, runs = draw_study(SMALL, 50, np.random.default_rng(3))
    samples = [gaps.measure(run, WEIGHTS)[0]["gap/loss"] for run in runs[0]]
    found = gaps.difference(samples, samples)
    assert (found.interval.low, found.interval.mean, found.interval.high, found.p) == (0, 0, 0, 1)


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_cover_and_equal_gaps_are_rarely_called_different(seeds: int) -> None:
    """The slim form of `python -m benchmarks.overfitting_gap`, whose full table is in docs/methods.md."""
    world = replace(simulation.WORLDS[0], seeds=seeds, val=(30, 20), pool=2)
    found = simulate(world, repeats=60, resamples=200)
    assert found.pop("different") <= 0.12
    assert found.pop("different.seeds") >= 0.05  # why lesions have to be counted
    assert len(found) == 6
    assert min(found.values()) >= 0.86, found


@pytest.mark.parametrize(
    ("losses", "target", "position"),
    [
        ([1.0, 0.8, 0.4], 0.6, 1.5),
        ([1.0, 0.8, 0.4], 0.8, 1.0),
        ([0.5, 0.4], 0.6, 0.0),
        ([1.0, 0.4, 0.9, 0.2], 0.5, 5 / 6),
    ],
)
def test_where_the_train_loss_is_first_reached(losses: list[float], target: float, position: float) -> None:
    assert reach(np.array(losses), target) == pytest.approx(position)
    if losses[0] > target:
        assert np.interp(reach(np.array(losses), target), np.arange(len(losses)), losses) == pytest.approx(target)


@pytest.mark.parametrize("position", [0.0, 1.25, 2.0])
def test_weights_of_a_position_interpolate(position: float) -> None:
    values = np.array([3.0, 1.0, 8.0])
    assert at_position(position, 3) @ values == pytest.approx(np.interp(position, np.arange(3), values))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    return simulate_comparison(replace(TRUTH, protocols=(FinetuneProtocol.FULL,)), tmp_path_factory.mktemp("study"))[1]


def test_the_horizon_is_common_and_the_own_last_epoch_is_kept(runs: list[Run]) -> None:
    longer = runs[0]
    rows = places(longer, shared_epochs([longer.curve, runs[1].curve.head(2)]))
    gap = longer.curve["gap/loss"].to_numpy()
    assert rows["common"] @ gap == gap[1] and rows["last"] @ gap == gap[3]
    assert rows["area"] @ gap == pytest.approx(np.trapezoid(gap[:2]))
    assert rows["best"] @ gap == gap[longer.summary["best_epoch"] - 1]


def test_at_equal_train_loss_both_arms_have_learned_as_much(runs: list[Run], tmp_path: Path) -> None:
    comparison, _ = simulate_comparison(replace(TRUTH, protocols=(FinetuneProtocol.FULL,)), tmp_path)
    found = comparison.differences[0].equal_loss
    ours, theirs = ([run for run in runs if run.arm == arm] for arm in ("vae", "imagenet"))
    for seed, target in enumerate(found.targets):
        curves = [side[seed].curve for side in (ours, theirs)]
        assert target == max(curve["train/loss"].min() for curve in curves)
        for curve, epoch in zip(curves, (found.arm_epochs[seed], found.reference_epochs[seed]), strict=True):
            assert np.interp(epoch, curve["epoch"], curve["train/loss"]) == pytest.approx(target)
    at = [
        [np.interp(epoch, run.curve["epoch"], run.curve["gap/loss"]) for run, epoch in zip(side, epochs, strict=True)]
        for side, epochs in ((ours, found.arm_epochs), (theirs, found.reference_epochs))
    ]
    assert found.arm["gap/loss"].mean == pytest.approx(np.mean(at[0]), abs=1e-6)
    assert found.difference["gap/loss"].interval.mean == pytest.approx(np.mean(at[0]) - np.mean(at[1]), abs=1e-6)
    assert found.below == 0


def test_a_run_below_the_target_at_its_first_epoch_counts_with_it_and_is_counted(runs: list[Run]) -> None:
    low = [replace(run, curve=run.curve.assign(**{"train/loss": run.curve["train/loss"] - 5})) for run in runs[:3]]
    comparison_gaps = _gaps_of(runs)
    found = at_equal_loss(low, runs[3:6], 4, comparison_gaps)
    assert found.below == 3 and found.arm_epochs == (1.0, 1.0, 1.0)
    assert found.arm["gap/loss"].mean == pytest.approx(
        np.mean([run.curve["gap/loss"].iloc[0] for run in low]), abs=1e-6
    )


def _gaps_of(runs: list[Run]) -> ResampledGaps:
    images = {run.name: read_epoch_images(run, TRUTH.classes) for run in runs}
    rng = np.random.default_rng(0)
    drawn = {}
    for split in SPLITS:
        groups = np.concatenate([found[split].groups for found in images.values()])
        labels = np.concatenate([found[split].labels for found in images.values()])
        drawn[split] = LesionResamples.draw(groups, labels, 20, rng)
    return ResampledGaps(drawn["val"], drawn["train"], images, len(TRUTH.classes), 0.95)


def test_images_that_are_not_of_the_curve_are_refused(runs: list[Run]) -> None:
    stale = replace(runs[0], curve=runs[0].curve.assign(**{"val/loss": runs[0].curve["val/loss"] + 0.01}))
    with pytest.raises(DataError, match=r"vae-full-0 are not of its curve: val/loss is .* repeat: dvc repro"):
        read_epoch_images(stale, TRUTH.classes)
    with pytest.raises(DataError, match=r"lack the columns \['image_id'"):
        read_epoch_images(replace(runs[0], images=pd.DataFrame()), TRUTH.classes)
    with pytest.raises(DataError, match=r"expected images of \['a', 'b'\]"):
        read_epoch_images(runs[0], ["a", "b"])
