"""A study is confirmatory only where it equals a protocol that was locked before its test images were opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import pytest

from components.comparison.protocol import (
    Lock,
    Opening,
    describe_protocol,
    images_sha256,
    protocol_sha256,
    standing,
)

COMPARE = {"confidence": 0.95, "looks": None, "margin": 0.05, "min_seeds": 3, "resamples": 2000, "seed": 0}
STUDY = {"name": "a", "arms": ["vae", "imagenet"], "seeds": [0, 1, 2]}
IMAGES, MODELS = "i" * 64, "m" * 64


def _settings(*, study: dict[str, object] | None = None, **compare: object) -> list[str]:
    plan = {"power": 0.8, "onset": 0.05, "figures": ["arms"]}
    return describe_protocol({"study": STUDY | (study or {}), "compare": COMPARE | plan | compare})


def _lock(images: str | None = IMAGES, openings: int = 0, **compare: object) -> Lock:
    settings = _settings(**compare)
    sha256 = protocol_sha256(settings, images)
    return Lock("2026-03-02T10:00:00+00:00", "c" * 40, openings, images, settings, sha256)


def _opening(date: str, models: str = MODELS, images: str = IMAGES) -> Opening:
    return Opening(date, images, models, "6 models")


def test_the_same_protocol_locked_before_the_test_images_were_opened_is_confirmatory() -> None:
    lock = _lock()
    found = standing(lock, _settings(), IMAGES, MODELS, [_opening("2026-03-05T00:00:00+00:00")])
    assert found.confirmatory and not found.openings
    assert found.sentence == (
        f"Confirmatory: the protocol was locked on 2026-03-02 ({lock.sha256[:12]}), before the test images were opened."
    )


def test_without_a_lock_the_study_is_exploratory() -> None:
    found = standing(None, _settings(), IMAGES, MODELS, [])
    assert not found.confirmatory
    assert found.sentence == "Exploratory: no protocol was locked before the test images were opened."


@pytest.mark.parametrize("name", COMPARE)
def test_each_changed_setting_that_decides_is_named_with_both_values(name: str) -> None:
    other = {"confidence": 0.9, "looks": [3, 5], "margin": 0.02, "min_seeds": 2, "resamples": 9, "seed": 1}[name]
    found = standing(_lock(), _settings(**{name: other}), IMAGES, MODELS, [])
    assert not found.confirmatory
    assert f"differs from the locked protocol in compare.{name} (" in found.sentence
    assert ", locked " in found.sentence


def test_more_seeds_than_were_locked_are_exploratory_unless_a_look_with_so_many_was_planned() -> None:
    five = {"seeds": [0, 1, 2, 3, 4]}
    found = standing(_lock(), _settings(study=five), IMAGES, MODELS, [])
    assert "study.seeds ([0, 1, 2, 3, 4], locked [0, 1, 2])" in found.sentence
    assert standing(_lock(looks=[3, 5]), _settings(study=five, looks=[3, 5]), IMAGES, MODELS, []).confirmatory


def test_other_test_images_are_exploratory_and_a_lock_before_the_split_holds_for_any() -> None:
    found = standing(_lock(), _settings(), "j" * 64, MODELS, [])
    assert "test images (jjjjjjjjjjjj, locked iiiiiiiiiiii)" in found.sentence
    assert standing(_lock(images=None), _settings(), "j" * 64, MODELS, []).confirmatory


@pytest.mark.parametrize(
    ("lock", "openings", "times"),
    [
        (_lock(openings=2), [], "2 times"),
        (_lock(), [_opening("2026-03-01T00:00:00+00:00")], "1 time."),
    ],
)
def test_a_lock_after_the_test_images_were_opened_says_so(lock: Lock, openings: list[Opening], times: str) -> None:
    found = standing(lock, _settings(), IMAGES, MODELS, openings)
    assert not found.confirmatory
    assert f"after the test images had been opened {times}" in found.sentence


def test_an_edited_lock_is_no_lock() -> None:
    lock = _lock()
    edited = replace(lock, settings=[line.replace("0.05", "0.02") for line in lock.settings])
    found = standing(edited, _settings(margin=0.02), IMAGES, MODELS, [])
    assert found.sentence == "Exploratory: protocol.lock.yaml was edited after it was locked."


def test_earlier_models_are_counted_and_the_same_models_are_not() -> None:
    openings = [
        _opening("2026-03-03T00:00:00+00:00", "first"),
        _opening("2026-03-04T00:00:00+00:00", "elsewhere", "j" * 64),
        _opening("2026-03-05T00:00:00+00:00"),
        _opening("2026-03-06T00:00:00+00:00", "later"),
    ]
    found = standing(_lock(), _settings(), IMAGES, MODELS, openings)
    assert found.openings.startswith(
        "The test images of this split were opened 1 time before, with other models: 2026-03-03, 6 models."
    )
    unknown = standing(_lock(), _settings(), IMAGES, "new", openings)
    assert "opened 3 times before" in unknown.openings


def test_the_hash_of_test_images_does_not_depend_on_their_order_but_on_labels_and_groups() -> None:
    table = pd.DataFrame({"image_id": ["a", "b"], "label": ["nv", "mel"], "group": ["1", "2"], "more": [1, 2]})
    assert images_sha256(table) == images_sha256(table.iloc[::-1])
    for column in ("image_id", "label", "group"):
        assert images_sha256(table.assign(**{column: ["x", "y"]})) != images_sha256(table)


CLINICAL = {
    "accept": {"melanoma": 0.9, "external": 0.8}, "ages": [40, 60], "answered": 0.8, "least_groups": 20,
    "malignant": ["mel"], "miss": 0.1,
}  # fmt: skip
PAD = {"name": "pad", "dataset": {"kind": "isic", "path": "/here"}, "diagnoses": {"MEL": "mel", "SEK": None}}


def _judged(external: Sequence[object] = (PAD,), **clinical: object) -> set[str]:
    given = {"study": STUDY, "compare": COMPARE}
    plain = describe_protocol(given)
    return set(describe_protocol(given | {"clinical": CLINICAL | clinical, "external": external})) - set(plain)


def test_all_that_fitness_depends_on_is_locked_and_a_study_without_criteria_has_the_protocol_of_before() -> None:
    assert _judged() == {
        "clinical.accept.melanoma = 0.9",
        "clinical.accept.external = 0.8",
        "clinical.ages = [40, 60]",
        "clinical.answered = 0.8",
        "clinical.least_groups = 20",
        'clinical.malignant = ["mel"]',
        'external.pad = [["MEL", "mel"], ["SEK", null]]',
    }
    assert _judged(accept=None) == set()


def test_external_test_sets_are_locked_where_a_criterion_is_about_them_and_wherever_their_files_are() -> None:
    assert not [line for line in _judged(accept={"melanoma": 0.9, "external": None}) if line.startswith("external")]
    assert _judged([PAD | {"dataset": {"kind": "isic", "path": "/there"}}]) == _judged()
    assert "external.other = []" in _judged([PAD, PAD | {"name": "other", "diagnoses": {}}])


@pytest.mark.parametrize("change", [{"least_groups": 5}, {"answered": 0.7}, {"external": []}])
def test_what_is_changed_after_the_lock_makes_the_study_exploratory(change: dict[str, object]) -> None:
    given = {"study": STUDY, "compare": COMPARE}
    before, after = (
        describe_protocol(given | {"clinical": CLINICAL | clinical, "external": external})
        for clinical, external in (({}, [PAD]), (change, change.get("external", [PAD])))
    )
    lock = Lock("2026-03-02T10:00:00+00:00", "c" * 40, 0, IMAGES, before, protocol_sha256(before, IMAGES))
    assert standing(lock, before, IMAGES, MODELS, []).confirmatory
    assert not standing(lock, after, IMAGES, MODELS, []).confirmatory
