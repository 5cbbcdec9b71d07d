"""The first page of a study: the model for use, for a clinician."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from components.report import page
from components.report.formatting import percent

PREVALENCE = 2.0
"""Melanomas among 100 examined lesions that the page begins with; the reader sets that of the own clinic."""

TEST_PICTURES: Mapping[str, str] = {
    "patients": "Pictures of patients that no model was trained on and that chose nothing.",
    "lesions": "Pictures of lesions that no model was trained on and that chose nothing. Their patients are not known, "
    "so that other lesions of the same person may be among the pictures for training.",
    "images": "Pictures that no model was trained on and that chose nothing. Their lesions and patients are not known, "
    "so that other pictures of the same lesion may be among those for training.",
    "lesions or patients": "Pictures of patients, and of lesions where the patient is not known, that no model was "
    "trained on and that chose nothing.",
}
"""What the test pictures are, by what is resampled whole (`StudyQuestion.unit`)."""


def glossary(confidence: float, unit: str) -> dict[str, str]:
    """Terms of the page in plain words.

    Args:
        confidence: of the intervals, in (0, 1).
        unit: what they are over, a key of TEST_PICTURES.
    """
    return {
        "answered, unanswered": "The model gives no answer where its highest probability is below a limit that was "
        "chosen before the test. Unanswered pictures are left to a person.",
        "benign lesions called benign": "Specificity: the share of benign lesions that the model does not flag.",
        "external test set": "Pictures from another clinic or camera, on which the model was tested and not trained.",
        "interval": "The range of true values that fit these pictures. Made in this way, "
        f"{100 * confidence:g} of 100 intervals hold the true value, for patients and cameras like these alone.",
        "melanomas found": "Sensitivity: the share of melanomas that the model calls malignant.",
        "operating point": "The limit of the probability from which the model calls a lesion malignant.",
        "prevalence": "How many of 100 examined lesions are melanomas. It decides how many alarms are false.",
        "test pictures": TEST_PICTURES[unit],
    }


def render(record: Mapping[str, Any]) -> str:
    """The page, of the record that `record.as_record` makes; every number of it is one of the record.

    Its script computes one number, works offline, and is the only one that the page's content security policy allows.
    """
    script = files("components").joinpath("chosen_model/prevalence.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    def value(path: str) -> Any:
        found: Any = record
        for key in path.split("."):
            found = found[int(key)] if isinstance(found, list) else found[key]
        return found

    return page.render(
        "chosen_model/page.html.j2",
        {"percent_of": percent},
        record=record,
        value=value,
        script=Markup(script),  # our own file
        script_hash=digest,
        prevalence=PREVALENCE,
        glossary=glossary(record["confidence"], record["unit"]),
    )


def needless(found: float, flagged: float, prevalence: float) -> float | None:
    """Benign lesions that are excised for each melanoma that is found, if every flagged lesion is excised.

    Args:
        found: share of melanomas that is called malignant.
        flagged: share of benign lesions that is called malignant.
        prevalence: share of melanomas among the examined lesions, in (0, 1); the others are benign.

    Returns:
        The number; None where no melanoma is found.
    """
    return flagged * (1 - prevalence) / (found * prevalence) if found and prevalence else None
