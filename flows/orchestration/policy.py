"""How Prefect runs each stage: order, retries, deadline and GPU slots, from policy.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import Field, PositiveFloat, ValidationError

from components.base.config import Frozen, explain
from flows.orchestration.graph import Node

POLICY = Path(__file__).with_name("policy.toml")


class Policy(Frozen):
    """How Prefect runs one stage; DVC needs none of it."""

    retries: int = Field(ge=0, description="further attempts after a failure")
    retry_delay_s: float = Field(ge=0, description="seconds between two attempts")
    deadline_s: PositiveFloat = Field(description="seconds after which an attempt is stopped and counts as failed")
    gpu: bool = Field(description="whether the stage takes one GPU slot where there are GPUs")
    first: bool = Field(description="whether stages that do not depend on it wait for it, too")


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


def in_order(nodes: Sequence[Node], policies: Mapping[str, Policy]) -> list[tuple[Node, list[str]]]:
    """Each node with the addresses of those that it waits for: those upstream, and those that run `first`.

    Args:
        nodes: each after those upstream of it.
        policies: of `load_policies`.

    Returns:
        The nodes in an order in which each follows those that it waits for.
    """
    upstream = {node.address: node.upstream for node in nodes}
    first = [node.address for node in nodes if policies.get(node.kind, policies["default"]).first]
    early, waiting = set(), list(first)
    while waiting:
        early.add(address := waiting.pop())
        waiting += [name for name in upstream[address] if name not in early]
    head = [(node, list(node.upstream)) for node in nodes if node.address in early]
    return head + [(node, list(dict.fromkeys((*node.upstream, *first)))) for node in nodes if node.address not in early]
