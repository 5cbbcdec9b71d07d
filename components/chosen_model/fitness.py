"""Whether the model for use is fit for it, by criteria that were fixed before the test images were opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.chosen_model.analysis import ChosenModel
from components.clinical.accept import NOT_JUDGED, Accept, why_not_judged
from components.deployment.manifest import OperatingPoint
from components.report.formatting import interval_range, percent, points
from components.statistics.intervals import Interval, read_interval

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Criterion:
    """One criterion and what was found."""

    name: str
    wanted: str
    found: str
    passed: bool


@dataclass(frozen=True)
class Fitness:
    """Judged or not, and each criterion."""

    judged: bool
    fit: bool
    """All criteria passed; False where nothing is judged."""
    sentence: str
    criteria: tuple[Criterion, ...]
    """What was found, also where it is not judged since the criteria were fixed too late."""


def judge(
    accept: Accept | None,
    chosen: ChosenModel,
    point: OperatingPoint,
    *,
    confirmatory: bool,
    synthetic: bool,
    external: Sequence[Json],
    run: str,
) -> Fitness:
    """Judge the model for use.

    Args:
        accept: the criteria; None: there are none.
        chosen: the model on the test images.
        point: its operating point.
        confirmatory: whether the criteria are in a protocol that was locked before the test images were opened.
        synthetic: whether the images are drawings, on which nothing is judged.
        external: records of the external test sets; drawings are none.
        run: of the model, whose results on external test sets count.
    """
    reason = why_not_judged(accept, confirmatory=confirmatory, synthetic=synthetic)
    if accept is None:
        return Fitness(False, False, reason, ())
    if (accept.fixed, accept.level) != (point.fixed, point.level):
        return Fitness(
            False,
            False,
            f"{NOT_JUDGED} The criteria are for the threshold of {100 * accept.level:g} % {accept.fixed}, the model "
            f"uses that of {100 * point.level:g} % {point.fixed} (bundle.point in params.yaml).",
            (),
        )
    criteria = tuple(_criteria(accept, chosen, of_patients(external), run))
    if reason:
        return Fitness(False, False, reason, criteria)
    failed = [each.name for each in criteria if not each.passed]
    if failed:
        return Fitness(True, False, f"Not fit for use: not passed: {', '.join(failed)}.", criteria)
    return Fitness(True, True, f"All {len(criteria)} criteria of fitness for use are passed.", criteria)


def of_patients(external: Sequence[Json]) -> list[Json]:
    """The records of the external test sets that are no drawings: a test on drawings says nothing about a clinic."""
    return [each for each in external if not each["plan"]["synthetic"]]


def _criteria(accept: Accept, chosen: ChosenModel, external: Sequence[Json], run: str) -> list[Criterion]:
    melanoma = None if chosen.melanoma is None else chosen.melanoma.malignant
    over, most = chosen.overconfidence, accept.overconfidence
    found = [
        _at_least("melanomas found", melanoma, accept.melanoma, "no melanoma in test"),
        _at_least("benign lesions called benign", chosen.benign.benign, accept.benign, ""),
        Criterion(
            "probability of malignancy minus share of malignant images, points",
            f"interval inside ±{100 * most:g}",
            f"{points(over.mean)} ({interval_range(over, points)})",
            over.known and -most <= over.low and over.high <= most,
        ),
    ]
    if accept.subgroups is not None:
        shown = [each for each in chosen.groups if each.found is not None]
        named = [(f"melanomas found, {each.attribute} {each.value}", each.found) for each in shown]
        nothing = f"no group with {chosen.least} melanomas"
        found += [
            _at_least(name, share, accept.subgroups, nothing)
            for name, share in named or [("melanomas found in subgroups", None)]
        ]
    if accept.external is not None:
        point = f"{accept.fixed}_{accept.level:g}"
        sets = [(f"malignant lesions found, {each['plan']['cohort']}", _found(each, run, point)) for each in external]
        found += [
            _at_least(name, share, accept.external, "no such result")
            for name, share in sets or [("malignant lesions found on external test sets", None)]
        ]
    return found


def _at_least(name: str, share: Interval | None, least: float, nothing: str) -> Criterion:
    """Passed where the lower end of the interval is high enough."""
    wanted = f"lower end at least {100 * least:g} %"
    if share is None:
        return Criterion(name, wanted, nothing, False)
    found = f"{percent(share.mean)} % ({interval_range(share, percent)})"
    return Criterion(name, wanted, found, share.known and share.low >= least)


def _found(record: Json, run: str, point: str) -> Interval | None:
    """Share of the malignant lesions of an external test set that this run finds; None where it was not measured."""
    of_run: Json = next((sheet["found"][run] for sheet in record["sheets"] if run in sheet["found"]), {})
    return read_interval(of_run[point]) if point in of_run else None
