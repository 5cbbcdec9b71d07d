"""The answers as plain data: the JSON record next to the page."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from components.base.json_data import plain
from components.paper.answers import ModelAnswers, PaperAnswers
from components.paper.claims import CLAIMS


def as_record(found: PaperAnswers) -> dict[str, Any]:
    """JSON-able data: numbers in full, null for what is not known or beyond what was tried."""
    record: dict[str, Any] = plain(
        {
            "reference": found.reference,
            "absent": found.absent,
            "claims": [asdict(each) for each in CLAIMS],
            "tests": found.tests,
            "smallest_p": found.smallest_p,
            "paper": [_model(each) for each in found.paper],
            "others": [_model(each) for each in found.others],
        }
    )
    return record


def _model(model: ModelAnswers) -> dict[str, Any]:
    return {
        "arm": model.arm,
        "protocol": model.protocol,
        "answers": {
            each.claim.key: {
                "word": each.judgement.word,
                "reason": each.judgement.reason,
                "tests": [
                    asdict(test.measurement)
                    | {"holm": test.holm, "word": test.judgement.word, "reason": test.judgement.reason}
                    for test in each.tests
                ],
            }
            for each in model.answers
        },
    }
