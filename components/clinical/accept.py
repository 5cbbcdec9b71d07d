"""Criteria of fitness for use: what must be shown on test images before a model may be called fit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.base.config import Frozen
from components.base.fields import OpenShare


class Accept(Frozen):
    """Fixed before the test images are opened: `dermflow lock` makes them a part of the protocol.

    Each is judged by the unfavourable end of its interval, at the operating point of the model for use. A lesion
    that is left unanswered counts as not found.
    """

    fixed: Literal["sensitivity", "specificity"] = Field(description="of the operating point, as in bundle.point")
    level: OpenShare = Field(description="of the operating point, as in bundle.point")
    melanoma: OpenShare = Field(description="lowest share of melanomas that are found")
    benign: OpenShare = Field(description="lowest share of benign lesions that are called benign")
    overconfidence: OpenShare = Field(
        description="by which the mean probability of malignancy may miss the share of malignant images, for the "
        "class frequencies of train"
    )
    subgroups: OpenShare | None = Field(
        description="lowest share of melanomas found in each subgroup with enough of them, one of which there must be; "
        "null: not asked"
    )
    external: OpenShare | None = Field(
        description="lowest share of malignant lesions that the model finds on each external test set, one of which "
        "there must be, drawings not counted; null: not asked"
    )


NOT_JUDGED = "Fit for use: not judged."
"""What is said of a model where no criteria were fixed."""


def why_not_judged(accept: Accept | None, *, confirmatory: bool, synthetic: bool) -> str:
    """Why nothing is judged, a sentence; empty where it is.

    Args:
        accept: the criteria; None: there are none.
        confirmatory: whether they are in a protocol that was locked before the test images were opened.
        synthetic: whether the images are drawings.
    """
    if accept is None:
        return f"{NOT_JUDGED} No criteria were fixed (clinical.accept in params.yaml)."
    if synthetic:
        return f"{NOT_JUDGED} The images are drawings."
    if not confirmatory:
        reason = "The criteria were not in a protocol that was locked before the test images were opened."
        return f"{NOT_JUDGED} {reason}"
    return ""


def about_fitness(accept: Accept | None, *, confirmatory: bool, synthetic: bool) -> str:
    """One sentence for the answer of a study, which knows the criteria and not yet the model for use.

    Args:
        accept: the criteria; None: there are none.
        confirmatory: whether they are in a protocol that was locked before the test images were opened.
        synthetic: whether the images are drawings.
    """
    reason = why_not_judged(accept, confirmatory=confirmatory, synthetic=synthetic)
    return reason or "Fit for use: see the first page, index.html, and the criteria of clinical.accept there."
