"""Which images and runs are explained, and which errors count as most confident."""

from __future__ import annotations

import numpy as np

from components.explanations.selection import choose_cases, choose_run, draw_rows, group_runs
from components.statistics.runs import Images
from tests.unit.explanations.explained_runs import CLASSES, IMAGES, RIGHT, WRONG, errors_of, run_of


def test_drawn_images_are_of_different_lesions_of_every_class_and_the_same_for_the_same_seed() -> None:
    rng = np.random.default_rng(0)
    labels, lesions = np.repeat(rng.integers(0, 3, 60), 3), np.repeat(np.arange(60).astype(str), 3)
    images = Images(np.arange(180).astype(str), labels, lesions)
    rows = draw_rows(images, 4, 0)
    assert [int((labels[rows] == k).sum()) for k in range(3)] == [4, 4, 4]
    assert len(set(lesions[rows])) == 12
    assert rows == draw_rows(images, 4, 0)
    assert rows != draw_rows(images, 4, 1)


def test_a_class_with_fewer_lesions_gives_all_of_them_one_image_each() -> None:
    rows = draw_rows(IMAGES, 3, 0)
    assert sorted(IMAGES.groups[rows]) == ["A", "B", "C", "E"]


def test_the_run_that_represents_an_arm_is_the_best_on_val_and_the_first_of_equals() -> None:
    worse, better, as_good = run_of(WRONG, seed=0), run_of(RIGHT, seed=1), run_of(RIGHT, seed=2)
    assert choose_run([worse, better, as_good], CLASSES) is better
    assert choose_run([as_good, better], CLASSES) is as_good


def test_runs_are_grouped_by_protocol_and_arm_each_with_its_best_run() -> None:
    runs = [run_of(WRONG, "vae", 0), run_of(RIGHT, "vae", 1), run_of(RIGHT, "imagenet", 0)]
    models = group_runs(runs, CLASSES)
    assert [(model.name, model.chosen.name, len(model.runs)) for model in models] == [
        ("vae-frozen", "vae-frozen-1", 2),
        ("imagenet-frozen", "imagenet-frozen-0", 1),
    ]


def test_cases_are_each_image_once_and_name_their_rule() -> None:
    errors, _ = errors_of(run_of(WRONG))
    cases = choose_cases(IMAGES, {"vae-frozen": errors, "imagenet-frozen": errors}, classes=CLASSES, count=1, seed=0)
    assert len({case.image for case in cases}) == len(cases)
    assert [case.drawn for case in cases[:3]] == [True] * 3
    assert {case.reason for case in cases if not case.drawn} <= {"one of the most confident errors of vae-frozen"}
    assert {error.image for error in errors} <= {case.image for case in cases}


# --- errors


def test_missed_malignant_lesions_come_first_then_the_most_confident_one_image_a_lesion() -> None:
    seeds = (run_of(WRONG), run_of(RIGHT, seed=1))
    errors, wrong = errors_of(run_of(WRONG), seeds, others=(run_of(RIGHT, "b"),))
    assert wrong == 3
    assert [(error.image, error.missed, error.probability) for error in errors] == [("c", True, 0.7), ("a", False, 0.8)]
    assert (errors[0].label, errors[0].predicted) == ("mel", "nv")
    assert [(error.seeds_wrong, error.seeds, error.arms_wrong, error.other_arms) for error in errors] == [
        (1, 2, 0, 1)
    ] * 2


def test_without_known_malignancy_the_most_confident_error_is_first() -> None:
    errors, _ = errors_of(run_of(WRONG), malignant=None)
    assert [error.image for error in errors] == ["a", "c"]
    assert not any(error.missed for error in errors)


def test_a_model_without_errors_has_none() -> None:
    assert errors_of(run_of(RIGHT)) == ((), 0)
