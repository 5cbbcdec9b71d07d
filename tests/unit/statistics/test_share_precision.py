"""The precision of a share against Wilson's formula and a plain search."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from components.statistics.share_precision import half_width, lesions_needed


@pytest.mark.parametrize(("lesions", "share"), [(10, 0.8), (115, 0.8), (400, 0.5), (20, 1.0)])
def test_the_half_width_is_wilsons(lesions: int, share: float) -> None:
    z = norm.ppf(0.975)
    root = np.sqrt(share * (1 - share) / lesions + z**2 / (4 * lesions**2))
    assert half_width(lesions, share, 0.95) == pytest.approx(z * root / (1 + z**2 / lesions), rel=1e-9)


@pytest.mark.parametrize("wanted", [0.1, 0.2])
def test_the_number_of_lesions_is_the_last_at_which_the_width_becomes_small_enough(wanted: float) -> None:
    narrow = [half_width(lesions, 0.8, 0.95) <= wanted for lesions in range(1, 100)]
    last_wide = max(place for place, enough in enumerate(narrow, start=1) if not enough)
    assert lesions_needed(wanted, 0.8, 0.95) == last_wide + 1


def test_an_impossible_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="half width of 1e-06 needs more than 10,000,000 lesions"):
        lesions_needed(1e-6, 0.5, 0.95)
