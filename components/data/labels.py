"""The target classes of a classifier and the diagnoses that each of them contains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

from pydantic import Field, model_validator

from components.base.config import Frozen
from components.base.fields import DistinctWords, Word


class Labels(Frozen):
    """Which scheme of classes is used, and the diagnoses of each class; section `labels` of params.yaml."""

    scheme: str = Field(description="one of schemes")
    schemes: dict[str, Annotated[dict[Word, tuple[Word, ...]], DistinctWords]] = Field(
        description="scheme -> class -> diagnoses; the order of the classes is their index"
    )

    @model_validator(mode="after")
    def _every_diagnosis_has_one_class(self) -> Self:
        if self.scheme not in self.schemes:
            raise ValueError(f"labels.scheme is {self.scheme!r}, expected one of {sorted(self.schemes)}")
        for name, classes in self.schemes.items():
            diagnoses = [diagnosis for members in classes.values() for diagnosis in members]
            twice = sorted({diagnosis for diagnosis in diagnoses if diagnoses.count(diagnosis) > 1})
            if twice:
                raise ValueError(f"labels.schemes.{name} maps {twice[0]!r} to two classes, expected one")
            if len(classes) < 2:
                raise ValueError(f"labels.schemes.{name} has {len(classes)} classes, expected at least 2")
        return self

    def group_classes(self, levels: Mapping[str, Sequence[str]], setting: str) -> dict[str, tuple[str, ...]]:
        """The target classes of each level, from the diagnoses of each level.

        Args:
            levels: level -> diagnoses, such as {"malignant": ("mel", "bcc")}.
            setting: key of params.yaml that holds the levels, for the message.

        Returns:
            Level -> classes in class order; a class none of whose diagnoses has a level is left out.

        Raises:
            ValueError: where only a part of a class's diagnoses lies in a level.
        """
        grouped: dict[str, list[str]] = {level: [] for level in levels}
        for name, diagnoses in self.schemes[self.scheme].items():
            counts = {level: len(set(diagnoses) & set(members)) for level, members in levels.items()}
            found = [level for level, count in counts.items() if count]
            if len(found) > 1 or (found and counts[found[0]] < len(diagnoses)):
                raise ValueError(
                    f"{setting} divides class {name!r} of labels.schemes.{self.scheme}, whose diagnoses are "
                    f"{list(diagnoses)}: expected all of them in one level, or none"
                )
            if found:
                grouped[found[0]].append(name)
        return {level: tuple(names) for level, names in grouped.items()}

    @property
    def classes(self) -> tuple[str, ...]:
        """The target classes; the position of a class is its index."""
        return tuple(self.schemes[self.scheme])

    @property
    def mapping(self) -> dict[str, str]:
        """Diagnosis -> target class, of the scheme in use."""
        classes = self.schemes[self.scheme]
        return {diagnosis: name for name, diagnoses in classes.items() for diagnosis in diagnoses}
