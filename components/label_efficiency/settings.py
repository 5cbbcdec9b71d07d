"""Settings of the learning curves over train lesions: which points are trained, and what is kept equal."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.base.config import Frozen
from components.base.fields import Distinct, OpenShare, Rising, Seed
from components.base.run_id import FinetuneProtocol


class LabelEfficiency(Frozen):
    """Learning curves over the number of train lesions."""

    shares: Annotated[tuple[OpenShare, ...], Rising] = Field(
        description="of the train lesions, rising; the runs with all of them are the study's own"
    )
    protocols: Annotated[tuple[FinetuneProtocol, ...], Distinct] = Field(
        description="of study.protocols, those that get a learning curve; none: nothing is trained"
    )
    seeds: Annotated[tuple[Seed, ...], Distinct] = Field(
        description="of study.seeds; each draws its own subset of lesions"
    )
    budget: Literal["steps", "epochs"] = Field(
        description="steps: as many as the study's runs, so that only labels are fewer; epochs: as many, fewer steps"
    )
    seed: Seed = Field(description="of the draw of lesions, together with the run's seed")

    @property
    def curve_shares(self) -> tuple[float, ...]:
        """Every point of a learning curve, the last is all train lesions."""
        return (*self.shares, 1.0)
