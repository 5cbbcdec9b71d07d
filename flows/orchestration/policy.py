"""How Prefect runs each stage: retries, deadline and GPU slots, from policy.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import Field, PositiveFloat, ValidationError

from components.base.config import Frozen, explain

POLICY = Path(__file__).with_name("policy.toml")


class Policy(Frozen):
    """How Prefect runs one stage; DVC needs none of it."""

    retries: int = Field(ge=0, description="further attempts after a failure")
    retry_delay_s: float = Field(ge=0, description="seconds between two attempts")
    deadline_s: PositiveFloat = Field(description="seconds after which an attempt is stopped and counts as failed")
    gpu: bool = Field(description="whether the stage takes one GPU slot where there are GPUs")


def load_policies() -> dict[str, Policy]:
    """Policy of each stage with a section in policy.toml, and `default` for all others.

    Raises:
        SettingsError: where the file has an unknown key or a wrong value.
    """
    data = tomllib.loads(POLICY.read_text())
    try:
        return {stage: Policy.model_validate(data["default"] | own) for stage, own in data.items()}
    except ValidationError as error:
        raise explain(error, data, POLICY.name) from None
