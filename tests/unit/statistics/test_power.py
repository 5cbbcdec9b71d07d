"""Power against closed forms, statsmodels and simulated studies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from components.statistics.intervals import VarianceComponents
from components.statistics.power import SEARCH_LIMIT, extrapolate, power, required_sample_size

SEEDS = VarianceComponents(
    by_lesions=0.0, by_seeds=0.01, training=0.01 * 5**0.5, interplay=0.0, seeds=5, lesions=np.inf
)
LESIONS = VarianceComponents(by_lesions=0.01, by_seeds=0.0, training=0.0, interplay=0.0, seeds=5, lesions=np.inf)
BOTH = VarianceComponents(by_lesions=0.008, by_seeds=0.012, training=0.02, interplay=0.0166, seeds=3, lesions=80.0)


@pytest.mark.parametrize("effect", [0.01, 0.03])
def test_power_over_seeds_is_that_of_the_t_test(effect: float) -> None:
    drawn = np.random.default_rng(0).normal(effect, SEEDS.training, (20_000, 5))
    found = np.mean(stats.ttest_1samp(drawn, 0, axis=1).pvalue <= 0.05)
    assert power(SEEDS, effect, 0.05) == pytest.approx(found, abs=0.01)


def test_power_over_seeds_is_statsmodels() -> None:
    """statsmodels 0.15.0: TTestPower().power(0.03 / 0.01 / 5**0.5, nobs=5, alpha=0.05)."""
    assert power(SEEDS, 0.03, 0.05) == pytest.approx(0.6192614594023302, abs=1e-6)


def test_power_over_lesions_is_that_of_the_normal_test() -> None:
    expected = stats.norm.sf(1.959964 - 2.5) + stats.norm.cdf(-1.959964 - 2.5)
    assert power(LESIONS, 0.025, 0.05) == pytest.approx(expected, abs=1e-6)


def test_no_effect_is_found_at_the_level() -> None:
    for sources in (SEEDS, LESIONS, BOTH):
        assert power(sources, 0.0, 0.05) == pytest.approx(0.05, abs=1e-6)


def test_more_seeds_or_lesions_divide_their_variance_components() -> None:
    found = extrapolate(BOTH, seeds=12, lesions=4.0)
    assert found.by_lesions == pytest.approx(0.004)
    assert found.by_seeds == pytest.approx(np.sqrt((0.02**2 + 0.0166**2 / 4) / 12))
    assert extrapolate(BOTH, 3, 1.0).by_seeds == pytest.approx(np.hypot(0.02, 0.0166) / 3**0.5)


def test_the_required_sample_size_is_the_smallest_that_is_enough() -> None:
    need = required_sample_size(BOTH, 0.04, 0.05, 0.8)
    assert need.seeds is not None
    assert (
        power(extrapolate(BOTH, need.seeds, 1.0), 0.04, 0.05)
        >= 0.8
        > power(extrapolate(BOTH, need.seeds - 1, 1.0), 0.04, 0.05)
    )
    assert power(extrapolate(BOTH, 3, 1.0), need.detectable, 0.05) == pytest.approx(0.8, abs=1e-3)
    more = required_sample_size(replace(BOTH, training=0.001), 0.04, 0.05, 0.8).lesions
    assert more is not None
    assert power(extrapolate(replace(BOTH, training=0.001), 3, more), 0.04, 0.05) >= 0.8


def test_the_other_variance_component_can_make_it_impossible() -> None:
    assert required_sample_size(LESIONS, 0.02, 0.05, 0.9).seeds is None  # no number of seeds replaces lesions
    assert required_sample_size(replace(SEEDS, training=1.0, by_seeds=0.45), 0.02, 0.05, 0.9).lesions is None
    assert required_sample_size(LESIONS, 0.02, 0.05, 0.9).lesions == pytest.approx(
        (stats.norm.ppf([0.975, 0.9]).sum() / 2) ** 2, rel=0.03
    )
    assert SEARCH_LIMIT >= 100


def test_simulated_studies_find_the_difference_with_the_stated_power() -> None:
    """Differences of S seeds on drawn lesions, decided by Satterthwaite's t, as extrapolate."""
    rng, repeats = np.random.default_rng(0), 20_000
    sources = VarianceComponents(0.01, np.hypot(0.015, 0.01) / 8**0.5, 0.015, 0.01, 8, 1e6)
    by_seed = (
        0.025 + sources.training * rng.normal(size=(repeats, 8)) + sources.interplay * rng.normal(size=(repeats, 8))
    )
    means = by_seed.mean(1) + sources.by_lesions * rng.normal(size=repeats)
    errors = by_seed.std(1, ddof=1) / 8**0.5
    both = np.hypot(errors, sources.by_lesions)
    freedom = both**4 / (errors**4 / 7)
    found = np.mean(2 * stats.t.sf(abs(means) / both, freedom) <= 0.05)
    assert power(sources, 0.025, 0.05) == pytest.approx(found, abs=0.02)
