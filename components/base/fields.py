"""Types of settings that several rooms use: a share, a seed, a name, a path inside the repository, distinct values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from components.base.normal_form import clean

Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]
"""A share above 0 and below 1."""

Seed = Annotated[int, Field(ge=0)]

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
"""Lower case, digits and underscores, not too many, so that it can be a part of file names and run names."""


def _check_word(text: str) -> str:
    word = clean(text)
    if not word:
        raise ValueError("expected a word, found only blanks")
    return word


def _check_keys(values: Any) -> Any:
    if isinstance(values, Mapping):
        texts = [key for key in values if isinstance(key, str)]
        same = {word: [text for text in texts if clean(text) == word] for word in map(clean, texts)}
        twice = [spellings for spellings in same.values() if len(spellings) > 1]
        if twice:
            found = " and ".join(map(repr, twice[0]))
            raise ValueError(f"{found} are one word, which differs in blanks or Unicode form alone: expected it once")
    return values


Word = Annotated[str, AfterValidator(_check_word)]
"""A word of a data set, such as a diagnosis or a class, in the form in which the tables' words are compared."""

DistinctWords = BeforeValidator(_check_keys)
"""Of a mapping by `Word`, in which a later key would replace one that is the same word."""


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
