"""The rules: which differences give which outcome, and where their numbers are shown."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.base.run_id import FinetuneProtocol, RunId
from components.comparison.against_null import AgainstNull, BaselineDifference, against_null
from components.comparison.outcomes import (
    NAMED,
    OUTCOMES,
    AccuracyRegion,
    EstimatedDifference,
    GapRegion,
    Learned,
    judge,
)
from components.comparison.verdict import Verdict, verdict
from components.report.formatting import p_value
from components.statistics.intervals import Interval
from components.statistics.question import StudyQuestion
from components.statistics.rule import Rule

RULE = Rule(confidence=0.95, margin=0.02, min_seeds=3)
RUN = RunId("vae", FinetuneProtocol.FROZEN, 0)
ABOVE = AgainstNull(learned=True, below=())


def _question(seeds: int = 3, classes: int = 7, synthetic: bool = False) -> StudyQuestion:
    return StudyQuestion(
        study="simulation",
        arms=("vae", "imagenet"),
        protocols=(FinetuneProtocol.FROZEN,),
        seeds=tuple(range(seeds)),
        reference="imagenet",
        classes=tuple(f"class{k}" for k in range(classes)),
        rule=RULE,
        resamples=100,
        seed=0,
        synthetic=synthetic,
    )


def _verdict(accuracy: EstimatedDifference, gap: EstimatedDifference, seeds: int = 3, **about: object) -> Verdict:
    given = {"arm": ABOVE, "reference": ABOVE, "synthetic": False} | about
    question = _question(seeds, synthetic=given.pop("synthetic"))
    return verdict(RUN, accuracy, gap, question, **given)


def _around(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high)


def _found(low: float, high: float, margin: float = 0.02) -> EstimatedDifference:
    """A difference whose tests agree with its interval, as for a single comparison."""
    return EstimatedDifference(
        _around(low, high),
        differs=0.5 if low <= 0 <= high else 0.01,
        above_margin=0.01 if low >= -margin else 0.5,
        below_margin=0.01 if high <= margin else 0.5,
    )


SMALLER, SAME, LARGER = _found(-0.08, -0.02), _found(-0.02, 0.03), _found(0.02, 0.06)
ENDLESS = EstimatedDifference(Interval(0.0, -float("inf"), float("inf")), 1.0)


@pytest.mark.parametrize(
    ("accuracy", "gap", "name"),
    [
        (_found(0.01, 0.05), SAME, "superior"),
        (_found(0.01, 0.05), SMALLER, "superior, smaller gap"),
        (_found(0.01, 0.05), LARGER, "superior, larger gap"),
        (_found(-0.01, 0.015), SMALLER, "equivalent within margin, smaller gap"),  # as accurate, overfits less
        (_found(-0.01, 0.015), LARGER, "equivalent within margin, larger gap"),
        (_found(0.001, 0.015), SAME, "equivalent within margin"),  # significantly more, by too little to matter
        (_found(-0.015, -0.001), SMALLER, "equivalent within margin, smaller gap"),
        (_found(-0.01, 0.03), SMALLER, "non-inferior within margin, smaller gap"),
        (_found(-0.01, 0.03), SAME, "non-inferior within margin"),
        (_found(-0.01, 0.03), LARGER, "non-inferior within margin, larger gap"),
        (_found(-0.03, 0.01), SAME, "non-superior within margin"),
        (_found(-0.03, 0.01), SMALLER, "non-superior within margin, smaller gap"),
        (_found(-0.09, -0.01), SMALLER, "inferior, smaller gap"),  # the paper's pattern
        (_found(-0.09, -0.01), SAME, "inferior"),
        (_found(-0.09, -0.01), LARGER, "inferior, larger gap"),
        (_found(-0.05, 0.03), SMALLER, "smaller gap, accuracy not decided: interval too wide"),
        (_found(-0.05, 0.03), SAME, "not decided: interval too wide"),
        (_found(-0.05, 0.03), LARGER, "larger gap, accuracy not decided: interval too wide"),
        (ENDLESS, SMALLER, "smaller gap, accuracy not decided: interval too wide"),
    ],
)
def test_each_pair_of_differences_has_its_outcome(
    accuracy: EstimatedDifference, gap: EstimatedDifference, name: str
) -> None:
    assert judge(accuracy, gap, 3, RULE).name == name


@pytest.mark.parametrize(
    ("low", "high", "name"),
    [
        (0.01, 0.05, "non-inferior within margin"),
        (-0.05, -0.01, "not decided after correction"),
        (-0.01, 0.01, "not decided after correction"),
    ],
)
def test_what_holm_alone_blocks_is_called_so_and_not_too_wide(low: float, high: float, name: str) -> None:
    """The interval alone would decide; the corrected p does not."""
    found = EstimatedDifference(
        _around(low, high), differs=0.06, above_margin=0.01 if low > 0 else 0.06, below_margin=0.06
    )
    assert judge(found, SAME, 3, RULE).name == name
    if name.startswith("not decided"):
        assert "not decided after correction for 2 tests, though" in _verdict(found, SAME).sentence


def test_a_gap_that_is_not_significant_after_holm_is_no_smaller_gap() -> None:
    blocked = EstimatedDifference(SMALLER.interval, differs=0.06)
    found = judge(_found(-0.09, -0.01), blocked, 3, RULE)
    assert (found.name, found.gap) == ("inferior", GapRegion.AFTER_CORRECTION)
    assert "the gap is not decided after correction for 2 tests." in _verdict(_found(-0.05, 0.03), blocked).sentence


def test_the_small_gap_of_a_model_that_is_not_above_chance_gets_no_credit() -> None:
    found = judge(_found(-0.09, -0.01), SMALLER, 3, RULE, Learned(arm=False))
    assert (found.name, found.tone) == ("inferior, smaller gap without credit", "bad")
    found = judge(_found(0.01, 0.05), LARGER, 3, RULE, Learned(reference=False))
    assert (found.name, found.tone) == ("superior, larger gap than an untrained reference", "good")


ends = st.one_of(st.floats(-1, 1), st.floats(-0.05, 0.05), st.sampled_from([0.0, 0.02, -0.02, np.inf, -np.inf]))
p_values = st.one_of(st.floats(0, 1), st.floats(0.04, 0.06), st.just(0.05))
any_differences = st.builds(
    lambda ends, *p: EstimatedDifference(_around(min(ends), max(ends)), *p),
    st.tuples(ends, ends), p_values, p_values, p_values,
)  # fmt: skip
any_learned = st.builds(Learned, st.booleans(), st.booleans())
MIRRORED = {
    AccuracyRegion.SUPERIOR: AccuracyRegion.INFERIOR,
    AccuracyRegion.NON_INFERIOR: AccuracyRegion.NON_SUPERIOR,
    GapRegion.SMALLER: GapRegion.LARGER,
    GapRegion.SMALLER_UNLEARNED: GapRegion.LARGER_UNLEARNED,
}
MIRRORED |= {value: key for key, value in MIRRORED.items()}


def _mirrored(found: EstimatedDifference) -> EstimatedDifference:
    interval = Interval(-found.interval.mean, -found.interval.high, -found.interval.low)
    return EstimatedDifference(interval, found.differs, found.below_margin, found.above_margin)


def _check(accuracy: EstimatedDifference, gap: EstimatedDifference, rule: Rule, learned: Learned) -> None:
    """Whatever is found: one outcome, named gaps, no words against the numbers, and the opposite for exchanged arms."""
    found = judge(accuracy, gap, 3, rule, learned)
    assert found is OUTCOMES[found.accuracy, found.gap]
    low, high, margin = accuracy.interval.low, accuracy.interval.high, rule.margin
    smaller = gap.differs <= rule.alpha and gap.interval.high < 0
    larger = gap.differs <= rule.alpha and gap.interval.low > 0
    assert ("smaller gap" in found.name) == smaller
    assert ("larger gap" in found.name) == larger
    assert (found.gap in NAMED) == (smaller or larger)
    assert ("overfits less" in found.sentence) == (smaller and learned.arm)
    assert ("overfits more" in found.sentence) == (larger and learned.reference)
    if "accuracy is higher;" in found.sentence:
        assert low > 0
        assert accuracy.differs <= rule.alpha
    if "accuracy is lower;" in found.sentence:
        assert high < 0
        assert accuracy.differs <= rule.alpha
    if "differs by less" in found.sentence:
        assert -margin <= low <= high <= margin
    if "not lower by" in found.sentence:
        assert low >= -margin
    if "not higher by" in found.sentence:
        assert high <= margin
    if "neither a difference nor" in found.sentence:
        assert low <= 0 <= high
        assert low < -margin
        assert high > margin
    exchanged = judge(_mirrored(accuracy), _mirrored(gap), 3, rule, Learned(learned.reference, learned.arm))
    assert exchanged.accuracy is MIRRORED.get(found.accuracy, found.accuracy)
    assert exchanged.gap is MIRRORED.get(found.gap, found.gap)


@settings(max_examples=2000, deadline=None)
@given(any_differences, any_differences, st.one_of(st.just(0.02), st.floats(0, 0.5)), any_learned)
def test_the_rules_hold_over_the_whole_plane(
    accuracy: EstimatedDifference, gap: EstimatedDifference, margin: float, learned: Learned
) -> None:
    _check(accuracy, gap, Rule(0.95, margin, 3), learned)


@pytest.mark.thorough
def test_the_rules_hold_for_200_000_random_findings() -> None:
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(200_000):
        lows, widths = rng.normal(0, 0.04, 2), rng.exponential(0.04, 2) * rng.choice([0.3, 1.0], 2)
        p = rng.uniform(0, 0.1, (2, 3))
        both = [EstimatedDifference(_around(a, a + w), *each) for a, w, each in zip(lows, widths, p, strict=True)]
        learned = Learned(*(rng.random(2) < 0.7).tolist())
        _check(*both, RULE, learned)
        seen.add(judge(*both, 3, RULE, learned).name)
    assert len(seen) == len({each.name for each in OUTCOMES.values()}) - 1  # all but too few seeds


@given(any_differences, any_differences, st.integers(1, 2))
def test_too_few_seeds_never_decide(accuracy: EstimatedDifference, gap: EstimatedDifference, seeds: int) -> None:
    assert judge(accuracy, gap, seeds, RULE).name == "not decided: too few seeds"


def test_every_cell_of_the_table_has_a_sentence_of_its_own() -> None:
    assert len({each.sentence for each in OUTCOMES.values()}) == len(OUTCOMES) == 1 + 7 * 6


def test_the_sentences_hold_their_numbers_and_name_their_places() -> None:
    accuracy = EstimatedDifference(Interval(-0.037, -0.075, -0.0003), 0.0321)
    found = _verdict(accuracy, EstimatedDifference(Interval(-0.05, -0.062, -0.0371), 0.0004))
    assert [(claim.text, claim.anchor) for claim in found.claims] == [
        ("vae against imagenet, encoder frozen: inferior, smaller gap.", "comparison-vae-frozen"),
        ("Its balanced accuracy is lower; it overfits less.", "margin-vae-frozen"),
        (
            "Test balanced accuracy differs by \N{MINUS SIGN}3.7 points (95 % interval \N{MINUS SIGN}7.5 to "
            "\N{MINUS SIGN}0.03), p = 0.032 after Holm.",
            "difference-vae-frozen",
        ),
        (
            "Tests of the margin: not 2 points worse, p = 1.000 after Holm; not 2 points better, p = 1.000 after Holm.",
            "margin-vae-frozen",
        ),
        (
            "The overfitting gap (loss) differs by \N{MINUS SIGN}0.050 (95 % interval \N{MINUS SIGN}0.062 to "
            "\N{MINUS SIGN}0.037), p < 0.001 after Holm.",
            "gap-difference-vae-frozen",
        ),
        ("From 3 seeds, with a margin of ±2 points.", "rule"),
    ]
    assert found.sentence == " ".join(claim.text for claim in found.claims)


LINES = {"log_loss": 1.131, "accuracy": 0.669, "balanced_accuracy": 1 / 7, "macro_auroc": 0.5}


def _measured(balanced: Interval, log_loss: float, accuracy: float = 0.7) -> dict[str, Interval]:
    means = {"macro_auroc": 0.8, "accuracy": accuracy, "log_loss_restored": log_loss}
    return {"balanced_accuracy": balanced} | {name: _around(mean - 0.01, mean + 0.01) for name, mean in means.items()}


def test_a_model_below_a_null_line_is_said_to_be_so_in_the_first_sentence() -> None:
    worse = against_null(_measured(_around(0.10, 0.20), log_loss=1.31), LINES)
    assert worse == AgainstNull(learned=False, below=("log loss",))
    first = _verdict(_found(-0.09, -0.01), SMALLER, arm=worse).claims[0].text
    assert first == (
        "vae against imagenet, encoder frozen: inferior, smaller gap without credit; vae is not shown to be above "
        "chance in balanced accuracy and is below class frequencies alone in log loss."
    )


def test_a_small_gap_of_a_pretraining_with_alarms_gets_no_credit() -> None:
    alarmed = against_null(_measured(_around(0.5, 0.6), log_loss=0.783), LINES, alarms=["posterior collapse"])
    found = _verdict(_found(-0.09, -0.01), SMALLER, arm=alarmed)
    assert found.claims[0].text == (
        "vae against imagenet, encoder frozen: inferior, smaller gap without credit; the pretraining of vae has "
        "alarms: posterior collapse."
    )
    assert "its smaller gap gets no credit, because it is not shown to have learned" in found.sentence


@pytest.mark.parametrize(("mean", "credit"), [(-0.001, False), (0.0, True), (0.02, True)])
def test_an_arm_below_a_baseline_gets_no_credit(mean: float, credit: bool) -> None:
    difference = BaselineDifference("colour", _around(mean - 0.03, mean + 0.03))
    found = against_null(_measured(_around(0.5, 0.6), log_loss=0.783), LINES, [difference])
    assert found.gets_credit is credit
    name = _verdict(_found(-0.09, -0.01), SMALLER, arm=found).outcome.name
    assert name == ("inferior, smaller gap" if credit else "inferior, smaller gap without credit")


def test_log_loss_alone_is_a_warning_and_keeps_the_credit_of_a_small_gap() -> None:
    found = against_null(_measured(_around(0.5, 0.6), log_loss=1.31, accuracy=0.6), LINES)
    assert found == AgainstNull(learned=True, below=("accuracy", "log loss"))
    assert against_null(_measured(_around(0.5, 0.6), log_loss=0.783), LINES) == ABOVE


def test_too_few_seeds_are_counted_in_the_sentence() -> None:
    lone = EstimatedDifference(Interval(-0.05, -float("inf"), float("inf")), 1.0)
    found = _verdict(_found(0.01, 0.05), lone, seeds=1)
    assert "not decided: too few seeds" in found.sentence
    assert "0.050 (no interval), p = 1.000 after Holm." in found.sentence
    assert found.sentence.endswith("From 1 seed; compare.min_seeds requires 3.")


def test_a_verdict_about_synthetic_images_begins_with_a_warning() -> None:
    found = _verdict(_found(0.01, 0.05), SAME, synthetic=True)
    assert re.match("SYNTHETIC, pipeline check, not evidence: vae against imagenet", found.sentence)


@pytest.mark.parametrize(
    ("value", "text"), [(0.03219, "= 0.032"), (0.001, "= 0.001"), (0.00099, "< 0.001"), (1.0, "= 1.000")]
)
def test_p_values_are_written_with_their_sign(value: float, text: str) -> None:
    assert p_value(value) == text
