"""The rule over the whole plane of interval and p-value, and the claims' text."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from components.comparison.page import PAPER
from components.paper.claims import CLAIMS, NO_NUMBER, Judgement, Measurement, Standing, Word, combine, judge
from components.statistics.intervals import Interval
from components.statistics.rule import Rule

RULE = Rule(confidence=0.95, margin=0.02, min_seeds=3)
CENTRES = (-np.inf, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, np.inf)


def measurement(mean: float, low: float, high: float, *, claimed: int = -1, seeds: int = 3) -> Measurement:
    return Measurement("gap", "gap", "signed", 0.0, 0.0, Interval(mean, low, high), 0.01, claimed, seeds)


def test_every_point_of_the_plane_has_the_word_of_the_rule() -> None:
    seen = set()
    for low, mean, high in product(CENTRES, repeat=3):
        if not low <= mean <= high:
            continue
        for claimed, p, arm, reference in product((-1, 1), (0.001, 0.05, 0.051, 1.0), ("", "x"), ("", "y")):
            found = measurement(mean, low, high, claimed=claimed)
            word = judge(found, p, Standing(arm, reference), RULE).word
            towards, away = (high < 0, low > 0) if claimed < 0 else (low > 0, high < 0)
            small = p <= 0.05
            expected = Word.NOT_DECIDED
            if towards and small and not arm:
                expected = Word.CONFIRMED
            if away and small and not reference:
                expected = Word.CONTRADICTED
            assert word is expected, (low, mean, high, claimed, p, arm, reference)
            seen.add(word)
    assert seen == {Word.CONFIRMED, Word.CONTRADICTED, Word.NOT_DECIDED}


def test_exchanged_arms_have_the_opposite_word() -> None:
    opposite = {
        Word.CONFIRMED: Word.CONTRADICTED,
        Word.CONTRADICTED: Word.CONFIRMED,
        Word.NOT_DECIDED: Word.NOT_DECIDED,
    }
    for low, high in product(CENTRES, repeat=2):
        if low <= high:
            one = judge(measurement(low, low, high), 0.01, Standing(arm="x"), RULE).word
            other = judge(measurement(-low, -high, -low), 0.01, Standing(reference="x"), RULE).word
            assert other is opposite[one]


@pytest.mark.parametrize(
    ("found", "p", "standing", "reason"),
    [
        (measurement(-1, -2, -0.5, seeds=2), 0.001, Standing(), "2 seeds, compare.min_seeds requires 3"),
        (measurement(np.nan, -np.inf, np.inf), 1.0, Standing(), "not known for every seed"),
        (measurement(-1, -2, 0.5), 0.2, Standing(), "the interval includes zero"),
        (measurement(-1, -2, -0.5), 0.06, Standing(), "after Holm's correction does not decide"),
        (measurement(-1, -2, -0.5), 0.01, Standing(arm="vae is below it"), "no credit: vae is below it"),
    ],
)
def test_what_is_not_decided_has_its_reason(found: Measurement, p: float, standing: Standing, reason: str) -> None:
    judgement = judge(found, p, standing, RULE)
    assert judgement.word is Word.NOT_DECIDED
    assert reason in judgement.reason


def test_a_claim_has_the_word_on_which_all_its_measures_agree() -> None:
    yes, no, open_ = Judgement(Word.CONFIRMED), Judgement(Word.CONTRADICTED), Judgement(Word.NOT_DECIDED, "wide")
    assert combine([yes, yes], "").word is Word.CONFIRMED
    assert combine([no], "").word is Word.CONTRADICTED
    assert combine([open_, open_], "") == open_
    for mixed in ([yes, no], [yes, open_], [no, open_]):
        assert combine(mixed, "") == Judgement(Word.NOT_DECIDED, "its measures do not agree")
    assert combine([], "no external test set") == Judgement(Word.NOT_TESTED, "no external test set")


def test_the_papers_numbers_are_those_of_the_papers_table() -> None:
    (*_, vae_gap), (*_, imagenet_gap) = PAPER
    claims = {each.key: each.paper for each in CLAIMS}
    assert len(claims) == 7
    assert claims["fall"] == f"{PAPER[0][2]} against {PAPER[1][2]}"
    assert claims["gap"].startswith(f"{vae_gap} against {imagenet_gap.removeprefix('grows to ')}")
    assert PAPER[0][3].rstrip(" %") in claims["steadiness"] and "75 %" in PAPER[1][5] and "75 %" in claims["steadiness"]
    numberless = {key for key, text in claims.items() if text == NO_NUMBER}
    assert numberless == {"convergence", "shortcuts", "adaptability", "latent"}
