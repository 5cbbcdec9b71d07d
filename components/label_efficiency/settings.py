"""Settings of the learning curves over train lesions: which points are trained, and what is kept equal."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from components.base.config import Frozen
from components.base.fields import OpenShare, Seed
from components.base.run_id import FinetuneProtocol


class LabelEfficiency(Frozen):
    """Learning curves over the number of train lesions."""

    shares: tuple[OpenShare, ...] = Field(
        description="of the train lesions, rising; the runs with all of them are the study's own"
    )
    protocols: tuple[FinetuneProtocol, ...] = Field(
        description="of study.protocols, those that get a learning curve; none: nothing is trained"
    )
    seeds: tuple[Seed, ...] = Field(description="of study.seeds; each draws its own subset of lesions")
    budget: Literal["steps", "epochs"] = Field(
        description="steps: as many as the study's runs, so that only labels are fewer; epochs: as many, fewer steps"
    )
    seed: Seed = Field(description="of the draw of lesions, together with the run's seed")

    @field_validator("shares", "protocols", "seeds")
    @classmethod
    def _no_repeats(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(values)) < len(values):
            raise ValueError("names something twice")
        return values

    @field_validator("shares")
    @classmethod
    def _shares_rise(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if list(shares) != sorted(shares):
            raise ValueError("expected rising shares, such as [0.1, 0.25, 0.5]")
        return shares

    @property
    def curve_shares(self) -> tuple[float, ...]:
        """Every point of a learning curve, the last is all train lesions."""
        return (*self.shares, 1.0)
