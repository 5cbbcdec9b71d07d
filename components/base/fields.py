"""Types of settings that several rooms use: a share, a seed, a name, a path inside the repository, distinct values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from components.base.normal_form import clean

Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]
"""A share above 0 and below 1."""

Seed = Annotated[int, Field(ge=0)]

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
"""Lower case, digits and underscores, not too many, so that it can be a part of file names and run names."""

Word = Annotated[str, Field(min_length=1), AfterValidator(clean)]
"""A word of a data set, such as a diagnosis or a class, in the form in which the tables' words are compared."""


def _check_relative(path: Path) -> Path:
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("must be a relative path inside the repository")
    return path


RelativePath = Annotated[Path, AfterValidator(_check_relative)]
"""Below the repository's root."""


def _check_distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = [value for value in dict.fromkeys(values) if values.count(value) > 1]
    if twice:
        raise ValueError(f"expected each value once, {', '.join(map(str, twice))} is there twice")
    return values


def _check_rising(values: tuple[float, ...]) -> tuple[float, ...]:
    if list(values) != sorted(set(values)):
        raise ValueError("expected rising values, each once")
    return values


Distinct = AfterValidator(_check_distinct)
"""Of a tuple, in which no value may be repeated: `Annotated[tuple[Seed, ...], Distinct]`."""

Rising = AfterValidator(_check_rising)
"""Of a tuple, in which each value must be above the one before: `Annotated[tuple[Share, ...], Rising]`."""
