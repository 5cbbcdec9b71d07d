"""How a stage is run: retries, deadline and GPU slots, keyed by stage in policy.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import Field, PositiveFloat, ValidationError

from components.base.config import Frozen, explain

POLICY = Path(__file__).with_name("policy.toml")


class Policy(Frozen):
    """What Prefect needs to know about a stage and DVC does not."""

    retries: int = Field(ge=0)
    retry_delay_s: float = Field(ge=0)
    deadline_s: PositiveFloat
    gpu: bool = Field(description="takes one GPU slot where there are GPUs")


def load_policies(path: Path = POLICY) -> dict[str, Policy]:
    """Stage -> policy, with `default` for those that have no section."""
    data = tomllib.loads(path.read_text())
    try:
        return {stage: Policy.model_validate(data["default"] | own) for stage, own in data.items()}
    except ValidationError as error:
        raise explain(error, data, path.name) from None
