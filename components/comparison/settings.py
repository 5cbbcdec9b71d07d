"""Settings of evaluation and comparison: which metrics are written, how certain a verdict must be, which figures."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from components.base.config import Frozen
from components.base.families import MemberOf
from components.base.fields import Distinct, Rising, Seed
from components.statistics.looks import find_look
from components.statistics.rule import Rule

COMPARED_METRICS = ("balanced_accuracy", "accuracy", "expected_calibration_error")
"""What the comparison reads of each run in metrics/evaluate.json."""


class Evaluate(Frozen):
    """What is measured on the test images."""

    metrics: Annotated[tuple[Annotated[str, MemberOf("statistics.metrics")], ...], Distinct] = Field(
        description="files of components/statistics/metrics that give one number, in the order of evaluate.json"
    )
    calibration_bins: PositiveInt = Field(description="bins of equal width of the expected calibration error")

    @field_validator("metrics")
    @classmethod
    def _comparison_finds_its_metrics(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        missing = [name for name in COMPARED_METRICS if name not in names]
        if missing:
            raise ValueError(f"lacks {', '.join(missing)}, which the comparison of arms needs; add them to the list")
        return names


class Compare(Frozen):
    """How certain a verdict must be, and what the comparison's page shows."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(
        description="of every interval without looks; 1 minus it is alpha"
    )
    resamples: PositiveInt = Field(description="bootstrap resamples of test lesions")
    min_seeds: int = Field(ge=2, description="with fewer, the outcome is always: not decided")
    looks: Annotated[tuple[PositiveInt, ...], Rising, Field(min_length=1)] | None = Field(
        description="numbers of seeds at which the study is judged, each at its share of alpha; null: once"
    )
    margin: Annotated[float, Field(ge=0, le=0.5)] = Field(
        description="balanced accuracy; smaller differences do not matter in practice"
    )
    power: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="probability to find a difference as large as the margin, for planning seeds and lesions"
    )
    onset: PositiveFloat = Field(description="nats; a gap in loss above it counts as overfitting")
    figures: Annotated[tuple[Annotated[str, MemberOf("comparison.figures")], ...], Distinct] = Field(
        description="files of components/comparison/figures; those of one section of the page appear in this order"
    )
    seed: Seed = Field(description="of the resamples")

    @model_validator(mode="after")
    def _check_each_look_can_decide(self) -> Self:
        if self.looks and self.looks[0] < self.min_seeds:
            raise ValueError(
                f"compare.looks is {list(self.looks)}, expected no number below compare.min_seeds {self.min_seeds}: "
                "such a look decides nothing and uses a share of the level"
            )
        return self

    def rule(self, seeds: int) -> Rule:
        """The decision rule of a study with that many seeds; with looks, at the level of the look that it is."""
        if self.looks is None:
            return Rule(self.confidence, self.margin, self.min_seeds)
        first = find_look(self.looks, self.looks[0], round(1 - self.confidence, 12))
        return Rule(self.confidence, self.margin, self.min_seeds, first).at(seeds)
