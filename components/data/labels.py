"""From the diagnoses of a data set to the classes that a classifier learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import Field, model_validator

from components.base.config import Frozen


class Labels(Frozen):
    """From the data set's diagnoses to the classes that are learned."""

    scheme: str = Field(description="one of schemes")
    schemes: dict[str, dict[str, tuple[str, ...]]] = Field(
        description="scheme -> class -> diagnoses; order is class order"
    )

    @model_validator(mode="after")
    def _is_a_map(self) -> Self:
        if self.scheme not in self.schemes:
            raise ValueError(f"labels.scheme {self.scheme!r} is none of {sorted(self.schemes)}")
        for name, classes in self.schemes.items():
            words = [word for diagnoses in classes.values() for word in diagnoses]
            twice = sorted({word for word in words if words.count(word) > 1})
            if twice:
                raise ValueError(f"labels.schemes.{name} maps {twice[0]!r} to two classes")
            if len(classes) < 2:
                raise ValueError(f"labels.schemes.{name} has {len(classes)} classes, expected at least 2")
        return self

    def gather(self, levels: Mapping[str, Sequence[str]], setting: str) -> dict[str, tuple[str, ...]]:
        """Levels of diagnoses as levels of classes; raises ValueError for a class that stands in two of them."""
        found: dict[str, list[str]] = {level: [] for level in levels}
        for name, words in self.schemes[self.scheme].items():
            shares = {level: len(set(words) & set(diagnoses)) for level, diagnoses in levels.items()}
            meets = [level for level, share in shares.items() if share]
            if len(meets) > 1 or (meets and shares[meets[0]] < len(words)):
                raise ValueError(
                    f"{setting} divides class {name!r} of labels.schemes.{self.scheme}, whose diagnoses are "
                    f"{list(words)}: a class lies on one side as a whole"
                )
            if meets:
                found[meets[0]].append(name)
        return {level: tuple(names) for level, names in found.items()}

    @property
    def classes(self) -> tuple[str, ...]:
        """The target classes in order; a class's index is its place here."""
        return tuple(self.schemes[self.scheme])

    @property
    def mapping(self) -> dict[str, str]:
        """Diagnosis -> target class."""
        return {word: name for name, words in self.schemes[self.scheme].items() for word in words}
