"""An external validation in sentences, each with a link to the table cell that holds its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from components.external_validation.results import LEADING, ArmOrder, ExternalModel
from components.report.formatting import p_value, percent, points
from components.report.wording import Claim, mark_synthetic
from components.statistics.intervals import Interval
from components.statistics.question import StudyQuestion
from components.statistics.significance import AdjustedP

OPPOSITE = "the intervals of two arms exclude zero on both sets, with opposite signs"


def make_claims(
    models: Sequence[ExternalModel], orders: Sequence[ArmOrder], question: StudyQuestion, cohort: str
) -> tuple[Claim, ...]:
    """Drops, drops compared with the reference's, and the order of arms; `cohort` names the external test set."""
    writer = _ClaimWriter(models, orders, question, cohort)
    found = [*writer.drops(), *writer.drop_differences(), *writer.orders_of_arms()]
    return tuple(replace(claim, text=mark_synthetic(claim.text, question.synthetic)) for claim in found)


@dataclass(frozen=True)
class _ClaimWriter:
    models: Sequence[ExternalModel]
    orders: Sequence[ArmOrder]
    question: StudyQuestion
    cohort: str

    def drops(self) -> Iterator[Claim]:
        for model in self.models:
            yield Claim(f"{self._drop(model)}{self._few_seeds(model)}", f"drop-{model.name}")

    def _drop(self, model: ExternalModel) -> str:
        found, who, where = model.changes[LEADING].drop, f"{model.arm}, {model.protocol}", f"on {self.cohort}"
        if not self._decided(model, model.dropped, found):
            change = f"balanced accuracy changes by {points(found.mean)} points {self._range(found)}"
            return f"{who}: no drop can be shown {where}; {change}."
        verb = "loses" if found.mean < 0 else "gains"
        size = Interval(-found.mean, -found.high, -found.low) if found.mean < 0 else found
        ends = self._range(size, signed=False)
        return f"{who} {verb} {percent(size.mean)} points of balanced accuracy {ends} {where}."

    def drop_differences(self) -> Iterator[Claim]:
        reference = self.question.reference
        for model in self.models:
            found = model.changes[LEADING].against
            if model.differs is None or found is None:
                continue
            text = f"It is not decided whether {model.arm}, {model.protocol}, loses more or less than {reference}"
            if self._decided(model, model.differs, found):
                how = "more" if found.mean < 0 else "less"
                text = f"{model.arm}, {model.protocol}, loses {how} than {reference}"
            yield Claim(
                f"{text}: their changes differ by {points(found.mean)} points {self._range(found)}, "
                f"p {p_value(model.differs.holm)} after Holm. {self._levels(model)}",
                f"against-{model.name}",
            )

    def _levels(self, model: ExternalModel) -> str:
        """Both accuracies on the external set: an arm with a low accuracy cannot lose much."""
        reference = self.question.reference
        own = [each for each in self.models if each.protocol == model.protocol and each.arm in (model.arm, reference)]
        ends = {each.arm: percent(each.changes[LEADING].external.mean) for each in own}
        return f"On {self.cohort}, {model.arm} reaches {ends[model.arm]} %, {reference} {ends[reference]} %."

    def orders_of_arms(self) -> Iterator[Claim]:
        for order in self.orders:
            if len(order.internal) < 2:
                continue
            here, there = (" before ".join(arms) for arms in (order.internal, order.external))
            if order.internal == order.external:
                text = f"The order of arms is the same on {self.cohort} ({order.protocol}): {here}."
            else:
                sure = OPPOSITE if order.sure else "this may be chance"
                text = (
                    f"The order of arms is not the same on {self.cohort} ({order.protocol}): {here} on the internal "
                    f"test, {there} on {self.cohort}; {sure}."
                )
            yield Claim(text, f"order-{order.protocol}")

    def _decided(self, model: ExternalModel, tested: AdjustedP, found: Interval) -> bool:
        """True with enough seeds, a small p after Holm, and an interval that excludes zero."""
        rule = self.question.rule
        significant = found.known and tested.holm <= rule.alpha and not found.low <= 0 <= found.high
        return model.seeds >= rule.min_seeds and significant

    def _few_seeds(self, model: ExternalModel) -> str:
        required = self.question.rule.min_seeds
        if model.seeds >= required:
            return ""
        seeds = f"{model.seeds} seed{'s' * (model.seeds != 1)}"
        return f" Nothing is decided from {seeds}: compare.min_seeds requires {required}."

    def _range(self, found: Interval, signed: bool = True) -> str:
        if not found.known:
            return "(no interval)"
        form = points if signed else percent
        return f"({100 * self.question.rule.confidence:g} % {form(found.low)} to {form(found.high)})"
