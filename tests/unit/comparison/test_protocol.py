"""A study is confirmatory only where it equals a protocol that was locked before its test images were opened."""

from __future__ import annotations

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


def test_criteria_of_fitness_are_locked_and_a_study_without_any_has_the_protocol_of_before() -> None:
    given = {"study": STUDY, "compare": COMPARE}
    plain = describe_protocol(given)
    assert describe_protocol(given | {"clinical": {"accept": None, "miss": 0.1}}) == plain
    lines = describe_protocol(given | {"clinical": {"accept": {"melanoma": 0.9}, "miss": 0.1}})
    assert set(lines) - set(plain) == {"clinical.accept.melanoma = 0.9"}
