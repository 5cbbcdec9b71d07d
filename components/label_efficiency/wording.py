"""Label efficiency in sentences: where an arm's curve crosses the reference's, and how many labels it saves."""

from __future__ import annotations

import numpy as np

from components.label_efficiency.analysis import LEADING, LabelEfficiencyResult
from components.label_efficiency.crossing import CurveComparison, ShareEstimate, ShareOutcome


def summary(result: LabelEfficiencyResult) -> list[str]:
    """Two sentences for each arm, about balanced accuracy: its crossing, then its label saving."""
    return [
        sentence
        for each in result.comparisons
        if each.metric == LEADING
        for sentence in (crossing_sentence(each, result), saving_sentence(each, result))
    ]


def crossing_sentence(comparison: CurveComparison, result: LabelEfficiencyResult) -> str:
    """Whether and where the arm's curve crosses the reference's."""
    place, means = comparison.crossing, _crossing_of_means(comparison, result)
    outside = f"no crossing within the range in {whole_percent(place.outside)} of resamples"
    if place.outcome is ShareOutcome.WITHIN:
        return f"{means} (interval {lesion_range(place, result)}; {outside})."
    if place.outcome is ShareOutcome.BELOW:
        return f"{means}: the curves do not cross there ({outside})."
    interval = f"interval of the crossing {lesion_range(place, result)}"
    return f"{_undecided(place, result)} On the means {means} ({interval}; {outside})."


def _crossing_of_means(comparison: CurveComparison, result: LabelEfficiencyResult) -> str:
    """What the mean curves show, without an interval."""
    arm, place, reference = comparison.arm, comparison.crossing, result.question.reference
    sides = ("ahead of", "behind") if comparison.ahead else ("behind", "ahead of")
    least, most = f"{result.lesions[0]:,}", f"{result.train_lesions:,}"
    if np.isfinite(place.share):
        about = f"about {_lesions(result, place.share):,} train lesions"
        several = f" (the curves cross {comparison.turns} times: this is where a steady difference would)"
        sentence = f"{arm} is {sides[0]} {reference} with more than {about}, and {sides[1]} it with fewer"
        return sentence + (several if comparison.turns > 1 else "")
    if np.isposinf(place.share):
        return f"{arm} and {reference} are equal with all {most} train lesions"
    if comparison.turns:
        return f"{arm} is {sides[0]} {reference} by a steady difference over {least} to {most} train lesions"
    return f"{arm} is {sides[0]} {reference} with every number of train lesions tried, {least} to {most}"


def saving_sentence(comparison: CurveComparison, result: LabelEfficiencyResult) -> str:
    """How many lesions the arm needs for what the reference reaches with all."""
    place, arm = comparison.enough, comparison.arm
    target = f"what {result.question.reference} reaches with all {result.train_lesions:,}"
    if np.isposinf(place.share):
        means = f"{arm} does not reach with all lesions {target}"
    elif np.isneginf(place.share):
        means = f"{arm} reaches with {result.lesions[0]:,} lesions or fewer {target}"
    else:
        about = f"{_lesions(result, place.share):,} lesions ({100 * place.share:.0f} %)"
        means = f"{arm} reaches with about {about} {target}"
    if place.outcome is ShareOutcome.WITHIN:
        return f"{means} (interval {lesion_range(place, result)})."
    if place.outcome in (ShareOutcome.BELOW, ShareOutcome.BEYOND):
        agreeing = place.below if place.outcome is ShareOutcome.BELOW else place.beyond
        return f"{means} (so in {whole_percent(agreeing)} of resamples)."
    return f"{_undecided(place, result)} On the means {means} (interval {lesion_range(place, result)})."


def _undecided(place: ShareEstimate, result: LabelEfficiencyResult) -> str:
    if place.outcome is ShareOutcome.TOO_FEW_SEEDS:
        count = len(result.settings.seeds)
        required = result.question.rule.min_seeds
        return f"Not decided: {count} seed{'s' if count > 1 else ''}, compare.min_seeds requires {required}."
    return "Not decided: the interval is too wide."


def _lesions(result: LabelEfficiencyResult, share: float) -> int:
    return round(share * result.train_lesions)


def lesion_range(place: ShareEstimate, result: LabelEfficiencyResult) -> str:
    """An interval in lesions: `120 to 400 lesions`, `fewer than 60 to 200 lesions`, `150 to more than 900 lesions`."""
    words = {-np.inf: f"fewer than {result.lesions[0]:,}", np.inf: f"more than {result.train_lesions:,}"}
    low, high = (words.get(end) or f"{_lesions(result, end):,}" for end in (place.low, place.high))
    return f"{low} to {high} lesions" if low != high else f"{low} lesions"


def whole_percent(share: float) -> str:
    """`37 %`; `less than 1 %` and `more than 99 %` where rounding would say none or all."""
    shown = round(100 * share)
    if 0 < share < 1 and shown in (0, 100):
        return "less than 1 %" if shown == 0 else "more than 99 %"
    return f"{shown} %"
