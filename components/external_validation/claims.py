"""An external validation in sentences, each with the cell that holds its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from components.external_validation.results import (
    Order,
    Sheet,
    TransferPlan,
)
from components.report.formatting import p_value, percent, points
from components.report.wording import Claim, mark_synthetic
from components.statistics.intervals import Interval
from components.statistics.rule import Rule
from components.statistics.significance import Tested


def _claims(sheets: Sequence[Sheet], orders: Sequence[Order], plan: TransferPlan) -> tuple[Claim, ...]:
    found = [*_drop_claims(sheets, plan), *_travel_claims(sheets, plan), *_order_claims(orders, plan)]
    return tuple(replace(claim, text=mark_synthetic(claim.text, plan.synthetic)) for claim in found)


def _drop_claims(sheets: Sequence[Sheet], plan: TransferPlan) -> Iterator[Claim]:
    for sheet in sheets:
        found = sheet.changes["balanced_accuracy"].drop
        yield Claim(f"{_drop_sentence(sheet, found, plan)}{_few_seeds(sheet, plan)}", f"drop-{sheet.name}")


def _drop_sentence(sheet: Sheet, found: Interval, plan: TransferPlan) -> str:
    who, where = f"{sheet.arm}, {sheet.protocol}", f"on {plan.cohort}"
    if not _decided(sheet, sheet.dropped, found, plan.rule):
        return (
            f"{who}: no drop can be shown {where}; balanced accuracy changes by {points(found.mean)} points "
            f"{_range(found, plan)}."
        )
    if found.mean < 0:
        turned = Interval(-found.mean, -found.high, -found.low)
        return (
            f"{who} loses {percent(turned.mean)} points of balanced accuracy "
            f"{_range(turned, plan, signed=False)} {where}."
        )
    return f"{who} gains {percent(found.mean)} points of balanced accuracy {_range(found, plan, signed=False)} {where}."


def _travel_claims(sheets: Sequence[Sheet], plan: TransferPlan) -> Iterator[Claim]:
    for sheet in sheets:
        found = sheet.changes["balanced_accuracy"].against
        if sheet.travels is None or found is None:
            continue
        text = f"Whether {sheet.arm}, {sheet.protocol}, loses more or less than {plan.reference} cannot be told"
        if _decided(sheet, sheet.travels, found, plan.rule):
            how = "more" if found.mean < 0 else "less"
            text = f"{sheet.arm}, {sheet.protocol}, loses {how} than {plan.reference}"
        yield Claim(
            f"{text}: between their changes lie {points(found.mean)} points {_range(found, plan)}, "
            f"p {p_value(sheet.travels.holm)} after Holm. {_levels(sheet, sheets, plan)}",
            f"against-{sheet.name}",
        )


def _levels(sheet: Sheet, sheets: Sequence[Sheet], plan: TransferPlan) -> str:
    """Where both end: an arm that knows little has little to lose."""
    own = [each for each in sheets if each.protocol == sheet.protocol and each.arm in (sheet.arm, plan.reference)]
    ends = {each.arm: percent(each.changes["balanced_accuracy"].external.mean) for each in own}
    return f"There {sheet.arm} reaches {ends[sheet.arm]} %, {plan.reference} {ends[plan.reference]} %."


def _order_claims(orders: Sequence[Order], plan: TransferPlan) -> Iterator[Claim]:
    for order in orders:
        if len(order.internal) < 2:
            continue
        here, there = (" before ".join(arms) for arms in (order.internal, order.external))
        if order.internal == order.external:
            text = f"The order of arms is the same on {plan.cohort} ({order.protocol}): {here}."
        else:
            luck = "intervals on both sides agree" if order.sure else "luck may have made it"
            text = f"The order of arms isn't the same on {plan.cohort} ({order.protocol}): "
            text += f"{here} here, {there} there; {luck}."
        yield Claim(text, f"order-{order.protocol}")


def _decided(sheet: Sheet, tested: Tested, found: Interval, rule: Rule) -> bool:
    """Whether it counts: enough seeds, p after Holm, and an interval that leaves zero out."""
    return (
        sheet.seeds >= rule.min_seeds and found.known and tested.holm <= rule.alpha and not found.low <= 0 <= found.high
    )


def _few_seeds(sheet: Sheet, plan: TransferPlan) -> str:
    if sheet.seeds >= plan.rule.min_seeds:
        return ""
    seeds = f"{sheet.seeds} seed{'s' * (sheet.seeds != 1)}"
    return f" Nothing is decided from {seeds}: compare.min_seeds asks for {plan.rule.min_seeds}."


def _range(found: Interval, plan: TransferPlan, signed: bool = True) -> str:
    if not found.known:
        return "(no interval)"
    form = points if signed else percent
    return f"({100 * plan.rule.confidence:g} % {form(found.low)} to {form(found.high)})"
