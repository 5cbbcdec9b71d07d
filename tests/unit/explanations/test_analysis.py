"""Which images are looked at, what lies near them, what is a sure error, and what the page says of it."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.neighbors import KNeighborsClassifier

from components.base.run_id import FinetuneProtocol, RunId
from components.explanations import page
from components.explanations.analysis import (
    Case,
    Exhibit,
    Explanations,
    Finding,
    Likeness,
    Neighbour,
    Plan,
    Sheet,
    agree,
    as_metrics,
    as_record,
    choose_cases,
    choose_run,
    compare_maps,
    draw_rows,
    find_errors,
    judge,
    nearest_lesions,
    share_lost,
    standardise,
)
from components.statistics.intervals import Interval
from components.statistics.runs import Images, Run

CLASSES = ("nv", "mel", "vasc")
PLAN = Plan(
    study="s", arms=("vae", "imagenet"), classes=CLASSES, malignant=("mel",), images=2, errors=3, neighbours=3, steps=8,
    alike=0.5, lost=0.1, confidence=0.95, resamples=200, seed=0, synthetic=False,
)  # fmt: skip


def likeness(low: float, high: float, magnitude: tuple[float, float] | None = None, lesions: int = 7) -> Likeness:
    intervals = [Interval((a + b) / 2, a, b) for a, b in ((low, high), magnitude or (low, high), (low, high))]
    return Likeness("everything", lesions, *intervals)


def run_of(p: np.ndarray, arm: str = "vae", seed: int = 0, labels: str = "nv nv mel mel vasc") -> Run:
    """Both splits the same five images of four lesions; the last two images of mel are one lesion."""
    table = pd.DataFrame({"image_id": list("abcde"), "lesion_id": list("ABCCE"), "label": labels.split()})
    table = table.assign(group=table["lesion_id"], **{f"p_{name}": p[:, k] for k, name in enumerate(CLASSES)})
    both = pd.concat([table.assign(split=split) for split in ("val", "test")], ignore_index=True)
    return Run(RunId(arm, FinetuneProtocol.FROZEN, seed), both)


IMAGES = Images(np.array(list("abcde")), np.array([0, 0, 1, 1, 2]), np.array(list("ABCCE")))
WRONG = np.array([[0.1, 0.8, 0.1], [0.9, 0.05, 0.05], [0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.02, 0.03, 0.95]])
RIGHT = np.eye(3)[[0, 0, 1, 1, 2]] * 0.9 + 0.1 / 3


# --- which images


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


def test_the_run_that_stands_for_an_arm_is_the_best_on_val_and_the_first_of_equals() -> None:
    worse, better, as_good = run_of(WRONG, seed=0), run_of(RIGHT, seed=1), run_of(RIGHT, seed=2)
    assert choose_run([worse, better, as_good], CLASSES) is better
    assert choose_run([as_good, better], CLASSES) is as_good


def test_cases_are_each_image_once_and_say_by_which_rule() -> None:
    errors, _ = find_errors(run_of(WRONG), [run_of(WRONG)], [], IMAGES, PLAN)
    cases = choose_cases(IMAGES, {"vae-frozen": errors, "imagenet-frozen": errors}, replace(PLAN, images=1))
    assert len({case.image for case in cases}) == len(cases)
    assert [case.drawn for case in cases[:3]] == [True] * 3
    assert {case.why for case in cases if not case.drawn} <= {"a most confident error of vae-frozen"}
    assert {error.image for error in errors} <= {case.image for case in cases}


# --- errors


def test_missed_malignant_lesions_come_first_then_the_surest_one_image_a_lesion() -> None:
    errors, wrong = find_errors(
        run_of(WRONG), [run_of(WRONG), run_of(RIGHT, seed=1)], [run_of(RIGHT, "b")], IMAGES, PLAN
    )
    assert wrong == 3
    assert [(error.image, error.missed, error.probability) for error in errors] == [("c", True, 0.7), ("a", False, 0.8)]
    assert (errors[0].label, errors[0].answer) == ("mel", "nv")
    assert [(error.seeds_wrong, error.seeds, error.arms_wrong, error.other_arms) for error in errors] == [
        (1, 2, 0, 1)
    ] * 2


def test_without_known_malignancy_the_surest_error_is_first() -> None:
    errors, _ = find_errors(run_of(WRONG), [run_of(WRONG)], [], IMAGES, replace(PLAN, malignant=None))
    assert [error.image for error in errors] == ["a", "c"]
    assert not any(error.missed for error in errors)


def test_a_model_without_errors_has_none() -> None:
    assert find_errors(run_of(RIGHT), [run_of(RIGHT)], [], IMAGES, PLAN) == ((), 0)


# --- near


def test_agreement_is_scikit_learns_vote_share_where_lesions_have_one_image() -> None:
    rng = np.random.default_rng(0)
    train, labels = rng.normal(size=(80, 6)), rng.integers(0, 3, 80)
    test, truth = rng.normal(size=(30, 6)), np.r_[0, 1, 2, rng.integers(0, 3, 27)]
    near, distances = nearest_lesions(train, np.arange(80).astype(str), test, 5)
    shares = (labels[near] == truth[:, None]).mean(1)
    votes = KNeighborsClassifier(5, metric="cosine").fit(train, labels).predict_proba(test)[np.arange(30), truth]
    assert shares == pytest.approx(votes)
    assert (np.diff(distances) >= 0).all()
    images = Images(np.arange(30).astype(str), truth, np.arange(30).astype(str))
    found = agree(images, [shares], PLAN)
    assert found.mean == pytest.approx(np.mean([shares[truth == k].mean() for k in range(3)]))
    assert found.low < found.mean < found.high


def test_of_a_lesion_with_many_images_the_nearest_alone_counts() -> None:
    rng = np.random.default_rng(1)
    train = np.concatenate([np.eye(4)[0] + 0.01 * rng.normal(size=(50, 4)), np.eye(4)[1:3], np.eye(4)[:1] + 0.5])
    groups = np.array(["many"] * 50 + ["b", "c", "d"])
    test = np.eye(4)[:1]
    near, distances = nearest_lesions(train, groups, test, 3)
    cosines = train @ test[0] / np.linalg.norm(train, axis=1)
    naive = sorted((1 - max(cosines[groups == name]), name) for name in set(groups))[:3]
    assert list(groups[near[0]]) == [name for _, name in naive]
    assert distances[0] == pytest.approx([distance for distance, _ in naive], abs=1e-9)


def test_more_neighbours_than_lesions_are_all_lesions() -> None:
    near, _ = nearest_lesions(np.eye(3), np.array(["a", "a", "b"]), np.eye(3)[:1], 9)
    assert near.shape == (1, 2)


def test_features_that_do_not_move_are_left_as_zero() -> None:
    train = np.array([[1.0, 5.0], [3.0, 5.0]])
    assert standardise(train, train).tolist() == [[-1.0, 0.0], [1.0, 0.0]]


def test_planted_clusters_agree_and_noise_agrees_by_chance_however_frequent_a_class_is() -> None:
    rng = np.random.default_rng(2)
    labels, truth = rng.choice(3, 600, p=[0.8, 0.1, 0.1]), rng.choice(3, 300, p=[0.8, 0.1, 0.1])
    images = Images(np.arange(300).astype(str), truth, np.arange(300).astype(str))
    found = []
    for signal in (4.0, 0.0):
        train, test = (signal * np.eye(8)[each] + rng.normal(size=(len(each), 8)) for each in (labels, truth))
        near, _ = nearest_lesions(train, np.arange(600).astype(str), test, 5)
        found.append(agree(images, [(labels[near] == truth[:, None]).mean(1)], PLAN))
    assert found[0].low > 0.9
    assert found[1].low < 1 / 3 < found[1].high


# --- the check


@pytest.mark.parametrize(
    ("found", "lost", "finding"),
    [
        (likeness(-0.1, 0.2), 0.05, Finding.DEPENDS),
        (likeness(0.6, 0.9), 0.05, Finding.SAME),
        (likeness(-0.1, 0.2, magnitude=(0.6, 0.8)), 0.05, Finding.SAME),  # by place alone it is the image
        (likeness(0.3, 0.7), 0.05, Finding.UNDECIDED),
        (likeness(-0.1, 0.2, magnitude=(0.4, 0.6)), 0.05, Finding.UNDECIDED),
        (likeness(-0.1, 0.2), 0.2, Finding.INCOMPLETE),
        (likeness(-0.1, 0.2), np.nan, Finding.INCOMPLETE),
        (likeness(-0.1, 0.2, lesions=4), 0.05, Finding.UNDECIDED),
    ],
)
def test_maps_are_read_only_where_the_whole_interval_allows_it(found: Likeness, lost: float, finding: Finding) -> None:
    assert judge([found], lost, 0.5, 0.1) is finding


def test_without_the_check_nothing_is_decided() -> None:
    assert judge([replace(likeness(-0.1, 0.1), other="head")], 0.0, 0.5, 0.1) is Finding.UNDECIDED


def test_a_map_without_contrast_is_left_out_of_the_means() -> None:
    rank = np.array([0.2, np.nan, 0.4])
    found = compare_maps("head", rank, rank, np.array([0.1, 9.0, 0.3]), 0.95)
    assert (found.lesions, found.rank.mean, found.structure.mean) == (2, pytest.approx(0.3), pytest.approx(0.2))
    assert found.rank.low >= -1
    nothing = compare_maps("head", rank[1:2], rank[1:2], rank[1:2], 0.95)
    assert nothing.lesions == 0
    assert judge([replace(nothing, other="everything")], 0.0, 0.5, 0.1) is Finding.UNDECIDED


def test_what_the_integral_missed_is_a_share_of_all_change() -> None:
    assert share_lost(np.array([0.1, -0.1]), np.array([-1.0, 3.0])) == pytest.approx(0.05)
    assert np.isnan(share_lost(np.zeros(2), np.zeros(2)))


# --- page and record

NEAR = (Neighbour("t1", "nv", 0.25),)


def sheet_of(arm: str, found: Likeness) -> Sheet:
    errors, wrong = find_errors(run_of(WRONG, arm), [run_of(WRONG, arm)], [run_of(RIGHT, "b")], IMAGES, PLAN)
    half = np.where(np.arange(16).reshape(4, 4) < 8, 1.0, -1.0)
    exhibits = tuple(Exhibit(name, "nv", 0.8, half, NEAR) for name in ("b", "c"))
    return Sheet(arm, "frozen", f"{arm}-frozen-0", (found,), 0.05, Interval(0.4, 0.3, 0.5), 1, errors, wrong, exhibits)


@pytest.fixture(scope="module")
def found() -> Explanations:
    cases = (
        Case("b", "nv", "drawn at random from nv", True),
        Case("c", "mel", "a most confident error of vae-frozen", False),
    )
    sheets = (sheet_of("vae", likeness(0.6, 0.9)), sheet_of("imagenet", likeness(-0.1, 0.2)))
    return Explanations(PLAN, 5, 4, cases, sheets)


def render(found: Explanations) -> str:
    grey = page.photograph(np.full((8, 8, 3), 128, np.uint8))
    photographs = dict.fromkeys(["a", "b", "c", "t1"], grey)
    return page.render(found, photographs, page.draw_figures(found))


def test_a_map_that_failed_its_check_is_crossed_out_with_a_warning(found: Explanations) -> None:
    text = render(found)
    assert text.count('class="map unread"') == 2  # one a case, of vae
    assert text.count('class="map"') == 2
    assert text.count("map: do not read") == 2
    assert "The maps of 1 of 2 models may be read: imagenet-frozen" in text
    assert "they show the image and not what was learned" in text


def test_the_page_asks_nothing_of_the_net_and_says_what_it_is_not(found: Explanations) -> None:
    text = render(found)
    assert not re.search(r'(src|href)="(https?:)?//', text)
    assert text.count("<h1>") == 1
    assert "Not a medical device" in text
    assert "malignant called benign" in text
    assert "wrong in 1 of 1 seed, and in 0 of 1 other arm" in text
    assert "SYNTHETIC" not in text
    assert "SYNTHETIC" in render(replace(found, plan=replace(PLAN, synthetic=True)))
    assert text == render(found)


def test_the_headline_counts_the_models(found: Explanations) -> None:
    bad, good = found.sheets
    assert "<h1>No model's maps may be read</h1>" in render(replace(found, sheets=(bad,)))
    assert "The maps of the model depend on what it learned" in render(replace(found, sheets=(good,)))


def test_a_map_keeps_sign_and_strength_as_colour_and_opacity() -> None:
    uri = page.colour_map(np.array([[1.0, 0.0], [-0.5, -1.0]]))
    kind, data = uri.split(",")
    assert kind == "data:image/png;base64"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert pixels[..., 3].tolist() == [[255, 0], [128, 255]]
    assert pixels[0, 0, :3].tolist() == [0xD5, 0x5E, 0x00]
    assert pixels[1, 0, :3].tolist() == [0x00, 0x72, 0xB2]


def test_large_pictures_become_small() -> None:
    data = page.photograph(np.zeros((300, 300, 3), np.uint8)).split(",")[1]
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (page.SIDE,) * 2


def test_the_record_is_strict_json_with_null_for_what_is_unknown(found: Explanations) -> None:
    unknown = replace(found.sheets[0], likeness=(replace(likeness(0, 0), rank=Interval(np.nan, -np.inf, np.inf)),))
    record = json.loads(json.dumps(as_record(replace(found, sheets=(unknown,))), allow_nan=False))
    model = record["models"]["vae-frozen"]
    assert model["likeness"]["everything"]["rank_correlation"] == {"mean": None, "low": None, "high": None}
    assert model["errors"][0]["missed"] is True
    assert model["neighbours"]["b"] == [{"image_id": "t1", "label": "nv", "distance": 0.25}]
    assert "likeness.everything" not in as_metrics(replace(found, sheets=(unknown,)))["vae-frozen"]
    assert as_metrics(found)["imagenet-frozen"]["likeness.everything"] == pytest.approx(0.05)
