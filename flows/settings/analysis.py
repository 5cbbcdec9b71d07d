"""Settings of evaluation, comparison and the analyses behind it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.base.config import Frozen

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
