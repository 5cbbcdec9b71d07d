"""Settings of evaluation, comparison and the analyses behind it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from components.base.config import Frozen
from components.base.fields import OpenShare, Seed
from components.base.run_id import FinetuneProtocol

Said = Annotated[str, Field(min_length=1)] | None  # null: not stated, and the cards say so


class Cards(Frozen):
    """What a person must say for model card and data sheet, because no file of a run knows it."""

    owner: Said = Field(description="who answers for model and data: a person, a department")
    contact: Said = Field(description="where to reach them")
    intended_use: Said = Field(description="what the model is meant for, and in whose hands")
    setting: Said = Field(description="where the images were taken: clinic, device, years")
    consent: Said = Field(description="of the patients, to this use of their images")
    ethics: Said = Field(description="approval of an ethics committee, or why none is needed")
    data_licence: Said = Field(description="of images of your own; of published ones Dermflow knows it")
    weights_licence: Said = Field(
        description="under which the model is given on, as Hugging Face writes it: cc-by-nc-4.0"
    )
    notes: Said = Field(description="anything else")


class LabelEfficiency(Frozen):
    """Learning curves over the number of train lesions: which points, and what is kept equal."""

    shares: tuple[OpenShare, ...] = Field(description="of the train lesions, rising; all of them is the study itself")
    protocols: tuple[FinetuneProtocol, ...] = Field(
        description="of study.protocols, those that are asked; none: nothing is trained"
    )
    seeds: tuple[Seed, ...] = Field(description="of study.seeds; each draws lesions of its own")
    budget: Literal["steps", "epochs"] = Field(
        description="steps: as many as the study's, so that labels alone are fewer; epochs: as many passes, fewer steps"
    )
    seed: Seed = Field(description="of the draw of lesions, with the run's seed")

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
