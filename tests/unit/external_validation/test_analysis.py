"""Drops on an external test set against scikit-learn, naive computations and planted truth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import special
from sklearn.metrics import recall_score

from components.base.log import SilentLog
from components.base.run_id import FinetuneProtocol, RunId
from components.clinical import calibration, operating_points
from components.external_validation.analysis import assess
from components.external_validation.results import EXTERNAL, ExternalSetup, ExternalValidationResult
from components.statistics.prior import Priors
from components.statistics.runs import Run
from components.statistics.significance import holm
from tests.unit.clinical.simulation import CLASSES, MALIGNANT, SHARES
from tests.unit.external_validation.planted_drop import ANSWERED, assess_runs, map_labels, simulate_runs, study_question


def test_the_drop_minus_the_references_is_the_difference_of_drops(result: ExternalValidationResult) -> None:
    reference, arm = (model.changes for model in result.models)
    for name, change in arm.items():
        assert change.against is not None and reference[name].against is None
        assert change.against.mean == pytest.approx(change.drop.mean - reference[name].drop.mean)


def test_both_sides_are_measured_over_the_classes_that_both_have(result: ExternalValidationResult) -> None:
    assert (result.labels.lacking, result.labels.few) == (("df", "vasc"), ())
    runs = simulate_runs({"imagenet": (2.2, 2.2), "vae": (2.6, 1.0)}, without=("df", "vasc"))
    kept = [CLASSES.index(name) for name in result.labels.compared]
    for side, split in (("internal", "test"), ("external", EXTERNAL)):
        found = []
        for run in runs[:3]:
            table = run.predictions[run.predictions["split"] == split]
            table = table[table["label"].isin(result.labels.compared)]
            answers = table[[f"p_{name}" for name in CLASSES]].to_numpy().argmax(1)
            truth = table["label"].map(CLASSES.index)
            found.append(recall_score(truth, answers, labels=kept, average="macro"))
        assert getattr(result.models[0].changes["balanced_accuracy"], side).mean == pytest.approx(np.mean(found))


def test_reweighted_accuracy_has_the_internal_class_distribution(
    result: ExternalValidationResult,
) -> None:
    changes = result.models[1].changes
    assert changes["accuracy_reweighted"].internal.mean == pytest.approx(changes["accuracy"].internal.mean)
    counts = {each.name: each.internal_images for each in result.labels.classes if each.compared}
    expected = sum(n * changes[f"sensitivity.{name}"].external.mean for name, n in counts.items()) / sum(
        counts.values()
    )
    assert changes["accuracy_reweighted"].external.mean == pytest.approx(expected)


def test_thresholds_and_temperatures_are_vals(result: ExternalValidationResult) -> None:
    runs = simulate_runs({"imagenet": (2.2, 2.2), "vae": (2.6, 1.0)}, without=("df", "vasc"))
    rates, temperatures = [], []
    for run in runs[3:]:
        risk = run.predictions[[f"p_{name}" for name in MALIGNANT]].sum(axis=1).to_numpy()
        is_malignant = run.predictions["label"].isin(MALIGNANT).to_numpy()
        val, there = (run.predictions["split"] == name for name in ("val", EXTERNAL))
        line = operating_points.threshold(risk[val], is_malignant[val], "specificity", 0.9)
        rates.append((risk[there & is_malignant] >= line).mean())
        table = run.predictions[val]
        labels = table["label"].map(CLASSES.index).to_numpy()
        temperatures.append(calibration.fit_temperature(labels, table[[f"p_{n}" for n in CLASSES]].to_numpy()))
    model = result.models[1]
    assert model.changes["sensitivity_at_specificity_0.9"].external.mean == pytest.approx(np.mean(rates))
    assert model.temperatures == pytest.approx(temperatures, rel=1e-4)


def test_a_copy_of_the_internal_test_has_no_drop_and_an_interval_of_two_sets() -> None:
    own = simulate_runs({"imagenet": (2.2, 2.2)}, lesions=(200, 10))[0].predictions.query("split != @EXTERNAL")
    table = pd.concat([own, _renamed(own)])
    runs = [Run(RunId("imagenet", FinetuneProtocol.FROZEN, seed), table) for seed in range(3)]  # equal seeds
    changes = assess_runs(runs, arms=("imagenet",), resamples=1000).models[0].changes
    for name, change in changes.items():
        assert change.drop.mean == pytest.approx(0, abs=1e-12), name
    whole = changes["accuracy"]
    ratio = (whole.drop.high - whole.drop.low) / (whole.internal.high - whole.internal.low)
    assert ratio == pytest.approx(np.sqrt(2), rel=0.08)


def _renamed(table: pd.DataFrame) -> pd.DataFrame:
    """The test images as an external set of the same lesions under other names."""
    test = table[table["split"] == "test"]
    return test.assign(image_id="x" + test["image_id"], group="x" + test["group"], split=EXTERNAL)


def test_p_values_are_corrected_over_arms() -> None:
    runs = simulate_runs({"imagenet": (2.2, 2.2), "vae": (2.6, 2.1), "random": (1.0, 0.9)}, lesions=(200, 150))
    models = assess_runs(runs, arms=("imagenet", "vae", "random")).models
    assert [s.dropped.holm for s in models] == pytest.approx(holm([s.dropped.p for s in models]))
    differs = [s.differs for s in models if s.differs]
    assert len(differs) == 2
    assert [each.holm for each in differs] == pytest.approx(holm([each.p for each in differs]))


def test_of_malignant_lesions_those_are_found_that_the_run_answers_and_calls_malignant(
    result: ExternalValidationResult,
) -> None:
    """A lesion with several images counts once; four of five val images reach the limit of confidence."""
    for run in simulate_runs({"imagenet": (2.2, 2.2), "vae": (2.6, 1.0)}, without=("df", "vasc"))[3:]:
        table = run.predictions.assign(
            risk=run.predictions[[f"p_{name}" for name in MALIGNANT]].sum(axis=1),
            confidence=run.predictions[[f"p_{name}" for name in CLASSES]].max(axis=1),
            malignant=run.predictions["label"].isin(MALIGNANT),
        )
        val, there = table[table["split"] == "val"], table[(table["split"] == EXTERNAL) & table["malignant"]]
        line = operating_points.threshold(val["risk"].to_numpy(), val["malignant"].to_numpy(), "sensitivity", 0.9)
        least = val["confidence"].sort_values(ascending=False).iloc[int(np.ceil(ANSWERED * len(val))) - 1]
        marked = (there["risk"] >= line) & (there["confidence"] >= least)
        expected = marked.groupby(there["lesion_id"]).mean().mean()
        assert result.models[1].found[run.name]["sensitivity_0.9"].mean == pytest.approx(expected)


def test_a_rate_of_one_has_the_exact_interval_of_its_lesions() -> None:
    runs = [_without_errors(run) for run in simulate_runs({"imagenet": (2.2, 2.2)}, lesions=(120, 90))]
    model = assess_runs(runs, arms=("imagenet",), resamples=50).models[0]
    there = runs[0].predictions.query("split == @EXTERNAL")
    there = there[there["label"].isin(map_labels(runs).compared)]
    melanomas, ill = (there.loc[there["label"].isin(names), "lesion_id"].nunique() for names in (["mel"], MALIGNANT))
    found = (
        (model.changes["sensitivity.mel"].external, melanomas),
        (model.changes["sensitivity_at_sensitivity_0.9"].external, ill),
        (model.found["imagenet-frozen-0"]["sensitivity_0.9"], ill),
    )
    for interval, lesions in found:
        assert (interval.mean, interval.high) == (1, 1)
        assert interval.low == pytest.approx(0.025 ** (1 / lesions))


def _without_errors(run: Run) -> Run:
    sure = {f"p_{name}": np.where(run.predictions["label"] == name, 0.94, 0.01) for name in CLASSES}
    return replace(run, predictions=run.predictions.assign(**sure))


def test_where_no_class_is_known_to_be_malignant_there_is_no_such_measure() -> None:
    runs = simulate_runs({"imagenet": (2.2, 2.2)}, lesions=(120, 90))
    assert not [name for name in assess_runs(runs, arms=("imagenet",), malignant=None).measures if "malignant" in name]
    assert "malignant_auroc" in assess_runs(runs, arms=("imagenet",)).measures


def test_an_intercept_that_another_share_of_malignant_images_causes_is_gone_once_the_frequencies_are_known() -> None:
    runs = [_with_fewer_benign(run) for run in simulate_runs({"imagenet": (2.4, 2.4)}, lesions=(300, 700))]
    question = study_question(("imagenet",), resamples=40)
    shares = np.array(SHARES)
    setup = ExternalSetup("pad", MALIGNANT, (0.9,), 15, Priors(shares, shares), ANSWERED)
    changes = assess(runs, map_labels(runs), question, setup, SilentLog()).models[0].changes
    there = changes["calibration_intercept"].external
    table = runs[0].predictions.query("split == @EXTERNAL")
    own, trained = table["label"].isin(MALIGNANT).mean(), shares[np.isin(CLASSES, MALIGNANT)].sum()
    known = changes["calibration_intercept_known"].external
    moved = special.logit(own) - special.logit(trained)  # of the log odds, by Bayes' rule: about log 5
    assert there.mean - known.mean == pytest.approx(moved, abs=0.2)
    assert there.low > 0.8
    assert abs(known.mean) < 0.5 * there.mean


def _with_fewer_benign(run: Run) -> Run:
    """The run without four of five benign external images."""
    table = run.predictions
    benign = (table["split"] == EXTERNAL) & ~table["label"].isin(MALIGNANT)
    dropped = benign & (np.arange(len(table)) % 5 > 0)
    return replace(run, predictions=table[~dropped].reset_index(drop=True))
