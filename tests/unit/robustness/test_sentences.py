"""A sentence claims what its test and interval support, and nothing where seeds or lesions are too few."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from components.robustness.analysis import RobustnessResult
from components.robustness.sentences import sentences, title
from tests.unit.robustness.simulated_runs import IMAGES, QUESTION, analyse_simulated, simulate


def test_a_planted_loss_is_claimed_for_its_arm_and_corruption(planted: RobustnessResult) -> None:
    text = " ".join(sentences(planted))
    assert "vae, encoder frozen loses 14.0 points of balanced accuracy" in text
    assert "the largest loss of 2 corruptions is 28.1" in text
    assert "vae, encoder frozen loses significantly more than imagenet" in text
    assert "Single corruptions: significantly more under noise." in text
    assert "imagenet, encoder frozen: no significant loss under corruptions" in text


def test_a_shortcut_is_claimed_for_its_arm_and_picture(planted: RobustnessResult) -> None:
    text = sentences(planted)
    assert "nothing is significantly above chance" in text[2]
    assert "imagenet, encoder frozen is significantly above chance with the lesion masked" in text[-1]
    assert "border only" in text[-1]
    assert "size of the box" not in text[-1]


def test_few_seeds_claim_nothing() -> None:
    text = " ".join(sentences(analyse_simulated(*simulate(seeds=2), replace(QUESTION, seeds=(0, 1)))))
    assert "significantly" not in text
    assert "is not decided: 2 of 3 seeds" in text
    assert "vae, encoder frozen: the loss under corruptions is not decided, since there are too few seeds" in text


def test_too_few_lesions_claim_nothing() -> None:
    measured, runs = simulate(seeds=1)
    blind = replace(measured, lesion_found=np.zeros(IMAGES, bool))
    text = " ".join(sentences(analyse_simulated(blind, runs, replace(QUESTION, seeds=(0,)))))
    assert "too few lesions to test" in text


def test_titles_are_the_files_names_in_words() -> None:
    assert [title(name) for name in ("colour_cast", "jpeg", "blur")] == ["colour cast", "JPEG", "blur"]
