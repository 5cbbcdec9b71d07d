"""Settings of model card and data sheet: statements that only a person can make."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.base.config import Frozen

Statement = Annotated[str, Field(min_length=1)] | None
"""None: not stated, and the cards show so."""


class CardSettings(Frozen):
    """What a person must state for model card and data sheet, since no file of a run contains it."""

    owner: Statement = Field(description="the person or department responsible for model and data")
    contact: Statement = Field(description="how to reach them")
    intended_use: Statement = Field(description="what the model is meant for, and for which users")
    setting: Statement = Field(description="where the images were taken: clinic, device, years")
    consent: Statement = Field(description="of the patients, to this use of their images")
    ethics: Statement = Field(description="approval of an ethics committee, or why none is needed")
    data_licence: Statement = Field(description="of images of your own; the adapters state that of published ones")
    weights_licence: Statement = Field(
        description="under which the model is published, as Hugging Face writes it: cc-by-nc-4.0"
    )
    notes: Statement = Field(description="anything else")
