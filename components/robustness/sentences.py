"""The result in sentences: each claims something only where its test and its interval support it."""

from __future__ import annotations

from components.report.formatting import interval_range, number, p_value, percent, points
from components.robustness.analysis import ModelRobustness, RobustnessResult
from components.robustness.occlusion import PICTURES
from components.robustness.shortcut_test import TESTED, ShortcutResult
from components.statistics.intervals import Interval

TITLES = {"jpeg": "JPEG"}
"""Names of corruptions that differ from the name of their file."""


def title(corruption: str) -> str:
    """A corruption's name in a sentence."""
    return TITLES.get(corruption, corruption.replace("_", " "))


def sentences(result: RobustnessResult) -> list[str]:
    """The claims of all models, in their order."""
    return [line for model in result.models for line in claims(model, result)]


def claims(model: ModelRobustness, result: RobustnessResult) -> list[str]:
    """Loss under corruptions, difference from the reference (unless it is the reference), shortcuts."""
    return [_loss(model, result), *_difference(model, result), _shortcuts(model, result)]


def describe_model(model: ModelRobustness) -> str:
    """`vae, encoder frozen`."""
    return f"{model.arm}, {model.protocol.description}"


def _loss(model: ModelRobustness, result: RobustnessResult) -> str:
    name, drop, worst = describe_model(model), model.drops.overall, model.worst
    found = f"{percent(drop.mean)} points of balanced accuracy ({interval_range(drop, points)})"
    if not drop.known or drop.low <= 0:
        return f"{name}: no significant loss under corruptions; on average {found}."
    if not result.enough_seeds:
        return f"{name}: the loss under corruptions is not decided, since there are too few seeds; on average {found}."
    largest = f"{percent(worst.drop.mean)} ({interval_range(worst.drop, points)}) under {title(worst.name)}"
    return (
        f"{name} loses {found} on average under corruptions; the largest loss of {len(model.drops.corruptions)} "
        f"corruptions is {largest}."
    )


def _difference(model: ModelRobustness, result: RobustnessResult) -> list[str]:
    difference = model.drops.difference
    if difference is None:
        return []
    name, reference, interval = describe_model(model), result.question.reference, difference.interval
    if not result.enough_seeds:
        seeds = f"{len(result.question.seeds)} of {result.question.rule.min_seeds} seeds"
        return [f"Whether {name} loses more than {reference} is not decided: {seeds}."]
    p = f"p {p_value(difference.p_holm)} after Holm"
    found = f"{points(interval.mean)} points ({interval_range(interval, points)}; {p})"
    first = f"Whether {name} loses more or less than {reference} is not decided: {found}."
    if difference.significant:
        first = f"{name} loses significantly {_more_or_less(interval)} than {reference}: {found}."
    single = [
        f"{_more_or_less(each.difference.interval)} under {title(each.name)}"
        for each in model.drops.corruptions
        if each.difference is not None and each.difference.significant
    ]
    return [f"{first} Single corruptions: significantly {', '.join(single)}." if single else first]


def _more_or_less(interval: Interval) -> str:
    return "more" if interval.mean > 0 else "less"


def _shortcuts(model: ModelRobustness, result: RobustnessResult) -> str:
    """A test can show that a shortcut exists, never that there is none."""
    name = describe_model(model)
    tested = [each for each in model.shortcuts if each.picture in TESTED and each.accuracy is not None]
    if not tested:
        return f"{name}: too few lesions to test predictions with the lesion masked."
    if not result.enough_seeds:
        return f"{name}: whether it predicts with the lesion masked is not decided, since there are too few seeds."
    above = [each for each in tested if each.significant]
    if not above:
        numbers = "; ".join(_against_chance(each) for each in tested)
        return f"{name}: with the lesion masked nothing is significantly above chance ({numbers})."
    numbers = "; ".join(_against_chance(each) for each in above)
    boxed = any(each.picture == "without_lesion" for each in above)
    reasons = "a shortcut, context or the size of the box" if boxed else "a shortcut or context"
    return f"{name} is significantly above chance with the lesion masked, because of {reasons}: {numbers}."


def _against_chance(result: ShortcutResult) -> str:
    """Both metrics of one picture: `border only 45.0 % (40.1 to 50.2), chance 33.3 %, AUROC 0.712 (0.690 to 0.741)`."""
    parts = []
    if result.accuracy is not None:
        each = result.accuracy
        ends = interval_range(each.interval, percent)
        parts.append(f"{percent(each.interval.mean)} % ({ends}), chance {percent(each.chance)} %")
    if result.auroc is not None:
        interval = result.auroc.interval
        parts.append(f"AUROC {number(interval.mean)} ({interval_range(interval, number)})")
    return f"{PICTURES[result.picture]} {', '.join(parts)}"
