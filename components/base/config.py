"""Strict settings: immutable, unknown keys are errors, and a folder is the registry of its kinds.

A family is a package under components/ (models.backbones, pretraining, data.adapters ...). Each of its modules defines
one `Config(Frozen)` whose `kind` is the name of the module. `OneOf("models.backbones")` accepts any of them, so a new
kind is a new file and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, ValidationError, field_validator
from pydantic_core import CoreSchema, ErrorDetails

from components.base.errors import SettingsError
from components.base.families import load_member, members
from components.base.home import without_home


class Frozen(BaseModel):
    """Immutable settings in which an unknown key is an error, no number is NaN or infinite and no path has `~`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @field_validator("*")
    @classmethod
    def _is_without_home(cls, value: Any) -> Any:
        return without_home(value) if isinstance(value, Path) else value


@cache
def kinds(family: str) -> Mapping[str, type[Frozen]]:
    """Every kind of a family by name: the `Config` of each of its modules."""
    return {name: load_member(family, name).Config for name in members(family)}


class OneOf:
    """Annotation for a setting that is one of a family's kinds, distinguished by its key `kind`."""

    def __init__(self, family: str) -> None:
        self.family = family

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        configs = list(kinds(self.family).values())
        if len(configs) == 1:
            return handler.generate_schema(configs[0])
        return handler.generate_schema(Annotated[reduce(or_, configs), Field(discriminator="kind")])


def explain(error: ValidationError, data: object, origin: str) -> SettingsError:
    """The error for the user: one line for each wrong value, with its full key, the value and what is allowed.

    Args:
        error: as pydantic raised it.
        data: the settings that were validated.
        origin: the file they came from, which is where to fix them.
    """
    lines = [f"{origin}: {_place(problem, data)}{_message(problem)}" for problem in error.errors(include_url=False)]
    return SettingsError("\n".join(lines))


_EXPECTED = {
    "tuple_type": "expected a list, such as [a, b]",
    "list_type": "expected a list, such as [a, b]",
    "dict_type": "expected a section of `key: value`",
    "mapping_type": "expected a section of `key: value`",
    "model_type": "expected a section of `key: value`",
    "model_attributes_type": "expected a section of `key: value`",
    "string_type": "expected text",
    "path_type": "expected a path",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "none_required": "expected null",
    "missing": "is missing",
    "extra_forbidden": "is no setting here",
    "union_tag_not_found": "lacks its key `kind`",
}
"""Kind of a problem in pydantic -> what params.yaml must have, in words of YAML."""


def _message(problem: ErrorDetails) -> str:
    """What was expected, in words of YAML."""
    if problem["type"] == "too_short":
        context = problem["ctx"]
        return f"has {context['actual_length']} usable entries, expected at least {context['min_length']}"
    known = _EXPECTED.get(problem["type"])
    return known or problem["msg"].removeprefix("Value error, ").replace("Input should be ", "expected ", 1)


def _place(problem: ErrorDetails, data: object) -> str:
    """`compute.device = 'tpu': `; empty for a check across sections, whose message names its settings."""
    key = ".".join(map(str, key_parts(problem["loc"], data)))
    return f"{key}{_given(problem)}: " if key else ""


def key_parts(location: tuple[int | str, ...], data: object) -> list[int | str]:
    """The keys of a location as the file has them: pydantic inserts the chosen kind, the file does not."""
    kept: list[int | str] = []
    for part in location:
        if isinstance(data, dict) and part not in data and data.get("kind") == part:
            continue
        kept.append(part)
        try:
            data = data[part]  # type: ignore[index]  # a missing key, or a scalar: nothing lies below it
        except (KeyError, IndexError, TypeError):
            data = None
    return kept


def _given(problem: ErrorDetails) -> str:
    """` = 'value'`; empty where the value is missing or a whole section."""
    value = problem["input"]
    return "" if problem["type"] == "missing" or isinstance(value, dict) else f" = {value!r}"
