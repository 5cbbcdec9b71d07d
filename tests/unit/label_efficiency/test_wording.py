"""The sentences hold the numbers of the result, and name open intervals and too few seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from components.label_efficiency.analysis import LabelEfficiencyResult
from components.label_efficiency.crossing import (
    ShareOutcome,
)
from components.label_efficiency.wording import crossing_sentence, saving_sentence, summary


def test_the_sentences_hold_the_numbers(result: LabelEfficiencyResult) -> None:
    first, second = summary(result)
    place = result.comparisons[0].crossing
    assert first.startswith("vae is behind imagenet with more than about ")
    assert f"{round(800 * place.share)} train lesions, and ahead of it with fewer" in first
    assert f"{round(800 * place.low)} to {round(800 * place.high)} lesions" in first
    assert (
        second == "vae does not reach with all lesions what imagenet reaches with all 800 (so in 100 % of resamples)."
    )


def test_the_sentences_name_open_ends_and_undecided_results(result: LabelEfficiencyResult) -> None:
    one = result.comparisons[0]
    doubtful = replace(one.crossing, low=-np.inf, high=np.inf, below=0.3, beyond=0.2, outcome=ShareOutcome.OPEN)
    text = crossing_sentence(replace(one, crossing=doubtful), result)
    assert text.startswith("Not decided: the interval is too wide. On the means vae is behind imagenet")
    assert "fewer than 100 to more than 800 lesions; no crossing within the range in 50 % of resamples" in text
    below = replace(
        one.crossing, share=-np.inf, low=-np.inf, high=-np.inf, below=0.999, beyond=0, outcome=ShareOutcome.BELOW
    )
    assert "by a steady difference over 100 to 800" in crossing_sentence(
        replace(one, crossing=below), result
    )  # it turns once
    text = crossing_sentence(replace(one, crossing=below, turns=0), result)
    assert "with every number of train lesions tried, 100 to 800: the curves do not cross there" in text
    assert "more than 99 % of resamples" in text
    assert "reaches with 100 lesions or fewer what imagenet" in saving_sentence(replace(one, enough=below), result)
    within = replace(one.crossing, share=0.5, low=0.25, high=0.75)
    expected = (
        "vae reaches with about 400 lesions (50 %) what imagenet reaches with all 800 (interval 200 to 600 lesions)."
    )
    assert saving_sentence(replace(one, enough=within), result) == expected
