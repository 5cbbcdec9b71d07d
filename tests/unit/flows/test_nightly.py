"""How the report of a scheduled run tells its proposal and the model in use."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.base.errors import SettingsError
from components.deployment.gates import Gate, Outcome
from flows import nightly
from flows.nightly import NO_MODEL, describe_champion, describe_proposal
from flows.promotion.decision import Proposal
from flows.promotion.transaction import State

NAME = "dermflow-demo"
GATES = (Gate("overfitting gap", "0.100 nats", "0.3 nats or less", True), Gate("log loss", "not known", "+0.05", False))


@pytest.mark.parametrize(
    ("outcome", "promoted", "words"),
    [
        (Outcome.PASSED, False, "**passed**. A person makes it the champion with `dermflow promote --approve 3`"),
        (Outcome.PASSED, True, "**passed**. Version 3 is in use now (promotion.approval: automatic)."),
        (Outcome.FAILED, False, "**failed**. Nothing is promoted."),
        (Outcome.UNDECIDED, False, "**too little to decide**. Nothing is promoted."),
    ],
)
def test_a_proposal_names_the_outcome_the_gates_and_what_a_person_can_do(
    outcome: Outcome, promoted: bool, words: str
) -> None:
    sentence, gates = describe_proposal(Proposal("3", "2", GATES, outcome, promoted))
    assert sentence.startswith("Version 3 was compared with the champion, version 2: ") and words in sentence
    assert "| overfitting gap | 0.100 nats | 0.3 nats or less | passed |" in gates
    assert "| log loss | not known | +0.05 | FAILED |" in gates


def test_the_report_says_which_model_is_in_use_and_what_was_before() -> None:
    none, first, second = State(None, None, None), State("1", None, "a"), State("2", "1", "b")
    assert describe_champion(NAME, none, none) == [NO_MODEL]
    assert describe_champion(NAME, first, first) == ["No changes: models:/dermflow-demo@champion is version 1."]
    (line,) = describe_champion(NAME, first, second)
    assert line.startswith("Before this run: the champion, version 1. Now models:/dermflow-demo@champion is version 2.")
    assert line.endswith("`dermflow promote --rollback` brings version 1 back.")


def test_a_failure_after_the_stages_leaves_an_event(plain_checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Exception] = []
    monkeypatch.setattr(nightly, "pipeline", lambda *_: "nothing changed")  # all stages at once take minutes
    monkeypatch.setattr(nightly, "emit_failure", events.append)
    (plain_checkout / "params.yaml").write_text("paths: [")
    with pytest.raises(SettingsError) as raised:
        nightly.nightly.fn()
    assert events == [raised.value]
