"""The clinical settings: what is refused, and what diagnoses mean in a study's classes."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from components.clinical.settings import Clinical
from components.data.labels import Labels
from tests.unit.clinical.simulated_assessment import SETTINGS
from tests.unit.clinical.simulation import CLASSES

LABELS = Labels(scheme="seven", schemes={"seven": {name: (name,) for name in CLASSES}})


def _changed(**changes: object) -> Clinical:
    return Clinical(**(SETTINGS.model_dump() | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"severity": {"all": CLASSES}}, "clinical.severity has the levels .'all'.*at least two"),
        ({"costs": ((0.0, 1.0), (1.0, 0.0))}, "clinical.costs is no table of 3 x 3"),
        (
            {"costs": ((0.0, 1.0, 1.0), (1.0, 0.5, 1.0), (1.0, 1.0, 0.0))},
            "clinical.costs .* expected 0 on the diagonal",
        ),
        ({"costs": ((0.0, 1.0, 1.0), (-1.0, 0.0, 1.0), (1.0, 1.0, 0.0))}, "greater than or equal to 0"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _changed(**changes)


@pytest.mark.parametrize("malignant", [None, (), ("melanoma",), CLASSES])
def test_malignancy_is_not_known_where_no_class_or_every_class_is_malignant(malignant: object) -> None:
    assert _changed(malignant=malignant).malignant_classes(LABELS) is None


def test_classes_have_the_malignancy_and_the_level_of_their_diagnoses() -> None:
    labels = Labels(
        scheme="three",
        schemes={"three": {"benign": ("nv", "bkl", "df", "vasc"), "soon": ("akiec", "bcc"), "mel": ("mel",)}},
    )
    assert SETTINGS.malignant_classes(labels) == ("soon", "mel")
    assert SETTINGS.severity_of_classes(labels) == {"routine": ("benign",), "soon": ("soon",), "urgent": ("mel",)}


def test_there_is_no_triage_where_a_class_has_no_level() -> None:
    assert _changed(severity={"routine": ("nv",), "urgent": ("mel",)}, costs=None).severity_of_classes(LABELS) is None


def test_a_class_of_malignant_and_benign_diagnoses_is_refused() -> None:
    labels = Labels(
        scheme="two", schemes={"two": {"dark": ("mel", "nv"), "other": ("bcc", "bkl", "akiec", "df", "vasc")}}
    )
    with pytest.raises(ValueError, match=r"clinical.malignant .*'dark'"):
        SETTINGS.malignant_classes(labels)
