"""Page, record and summary say the same, name the data, and mark drawings."""

from __future__ import annotations

import json

import pytest

from components.base.log import SilentLog
from components.cross_validation.analysis import CrossValidation, pool_folds
from components.cross_validation.page import FIGURE, draw_figures, render
from components.cross_validation.record import as_metrics, as_record
from components.cross_validation.sentences import assumptions, summary
from tests.unit.cross_validation.simulated_folds import labelled, question, simulate_folds

FOLDS = simulate_folds({"vae": 0.8, "imagenet": 0.6}, count=4, lesions=30)


def _pool(synthetic: bool = False) -> CrossValidation:
    return pool_folds(FOLDS, question(synthetic=synthetic), labelled(FOLDS), SilentLog())


@pytest.fixture(scope="module")
def result() -> CrossValidation:
    return _pool()


def test_the_page_shows_verdict_data_and_every_fold(result: CrossValidation) -> None:
    text = render(result, draw_figures(result))
    assert 'id="difference-vae-frozen"' in text
    assert "superior" in text
    assert "all 120 lesions" not in text
    assert f"about all {result.images:,} accepted images with a label of 120 {result.question.unit}" in " ".join(
        text.split()
    )
    assert text.count("<svg") == 1
    assert "SYNTHETIC" not in text


def test_a_synthetic_page_says_so_at_the_top_and_in_the_verdict() -> None:
    found = _pool(synthetic=True)
    text = render(found, draw_figures(found))
    assert text.index("SYNTHETIC DATA") < text.index("<h1>")
    assert "SYNTHETIC, pipeline check, not evidence: vae against imagenet" in text
    assert summary(found)[0].startswith("SYNTHETIC")


def test_the_record_is_json_and_has_the_verdict(result: CrossValidation) -> None:
    record = json.loads(json.dumps(as_record(result), allow_nan=False))
    (difference,) = record["differences"]
    assert difference["verdict"]["outcome"] == "superior"
    assert difference["verdict"]["sentence"] == summary(result)[0]
    assert len(difference["by_fold"]["balanced_accuracy"]) == 4
    assert record["plan"]["method"].startswith("corrected resampled t")
    metrics = as_metrics(result)
    assert metrics["vae/frozen/difference"] == difference["mean"]["balanced_accuracy"]["mean"]


def test_the_assumption_is_stated_with_its_numbers(result: CrossValidation) -> None:
    assert any("1 / 4 + n_test / n_train = 0.250 + 0.500" in line for line in assumptions(result))
    assert any("correlation of 0.33" in line for line in assumptions(result))


def test_the_figure_shows_each_fold(result: CrossValidation) -> None:
    axes = draw_figures(result)[FIGURE].axes[0]
    ticks = next(line for line in axes.lines if line.get_marker() == "|")
    (apart,) = result.differences
    assert list(ticks.get_xdata()) == pytest.approx([100 * value for value in apart.by_fold["balanced_accuracy"]])
