"""Settings of evaluation and comparison: which metrics are written, how certain a verdict must be, which figures."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from components.base.config import Frozen
from components.base.families import MemberOf
from components.base.fields import Distinct, Seed

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

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = Field(description="of every interval; 1 minus it is alpha")
    resamples: PositiveInt = Field(description="bootstrap resamples of test lesions")
    min_seeds: int = Field(ge=2, description="with fewer, the outcome is always: not decided")
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
