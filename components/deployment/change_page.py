"""The page of a proposed change: settings and figures of both models, and every test lesion whose answer changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from components.deployment.evidence import Evidence
from components.deployment.gates import Gate, Outcome
from components.deployment.manifest import Manifest
from components.report import page

MISSED, FALSE_ALARM, FOUND, CLEARED, ABSTAINS, ANSWERS, CLASS = (
    "newly missed malignant",
    "newly called malignant, but benign",
    "newly found malignant",
    "no longer called malignant, and benign",
    "newly not answered",
    "newly answered",
    "another class",
)
ORDER = (MISSED, FALSE_ALARM, ABSTAINS, ANSWERS, CLASS, FOUND, CLEARED)
"""Kinds of changes, those that can harm a patient first."""


@dataclass(frozen=True)
class Side:
    """One model."""

    version: str
    sha256: str
    manifest: Manifest
    answers: pd.DataFrame
    """Columns of `Predictor.predict`, a row a test image."""


@dataclass(frozen=True)
class Change:
    """What the page shows."""

    evidence: Evidence
    gates: Sequence[Gate]
    outcome: Outcome
    images: pd.DataFrame
    """Test images: image_id, label, group."""
    candidate: Side
    champion: Side | None


def render(change: Change) -> str:
    """The page as HTML."""
    old = change.champion
    found = None if old is None else flips(change.images, old, change.candidate)
    return page.render(
        "deployment/change_page.html.j2",
        change=change,
        settings=[] if old is None else settings(old.manifest, change.candidate.manifest),
        flips=None if found is None else found.to_dict("records"),
        kinds=[] if found is None else [(kind, int((found["kind"] == kind).sum())) for kind in ORDER],
        lesions=0 if found is None else found["group"].nunique(),
    )


def flips(images: pd.DataFrame, champion: Side, candidate: Side) -> pd.DataFrame:
    """A row an image whose answer changed, the worst kinds first.

    Args:
        images: image_id, label and group of the N test images.
        champion: with answers in the same order.
        candidate: likewise.

    Returns:
        image_id, label, group, kind (one of ORDER), and `old` and `new`: the answers in words.
    """
    malignant = set(candidate.manifest.malignant)
    rows = []
    answers = zip(champion.answers.to_dict("records"), candidate.answers.to_dict("records"), strict=True)
    for image, (old, new) in zip(images.to_dict("records"), answers, strict=True):
        kind = _kind(image["label"] in malignant, old, new)
        if kind:
            rows.append({**image, "kind": kind, "old": _words(old), "new": _words(new)})
    table = pd.DataFrame(rows, columns=["image_id", "label", "group", "kind", "old", "new"])
    place = table["kind"].map({kind: at for at, kind in enumerate(ORDER)})
    return (
        table.assign(place=place).sort_values(["place", "group", "image_id"], ignore_index=True).drop(columns="place")
    )


def _kind(malignant: bool, old: Mapping[Any, Any], new: Mapping[Any, Any]) -> str:
    """How an answer changed; empty where decision, abstention and class are the same."""
    before, after = _is_called(old), _is_called(new)
    if before != after:
        if malignant:
            return FOUND if after else MISSED
        return FALSE_ALARM if after else CLEARED
    if old["abstain"] != new["abstain"]:
        return ABSTAINS if new["abstain"] else ANSWERS
    return CLASS if old["predicted"] != new["predicted"] else ""


def _is_called(answer: Mapping[Any, Any]) -> bool:
    """Whether an image is called malignant; False where it is not known which classes are."""
    return not pd.isna(answer["malignant"]) and bool(answer["malignant"])


def _words(answer: Mapping[Any, Any]) -> str:
    called = "" if pd.isna(answer["malignant"]) else ", malignant" if answer["malignant"] else ", not malignant"
    score = "" if pd.isna(answer["p_malignant"]) else f" (p {answer['p_malignant']:.3f})"
    return f"{answer['predicted']}{called}{score}{', not answered' if answer['abstain'] else ''}"


def settings(old: Manifest, new: Manifest) -> list[tuple[str, str, str]]:
    """Name, old and new value of what the bundles state, where they differ."""
    sides = [_stated(each) for each in (old, new)]
    names = dict.fromkeys([*sides[0], *sides[1]])
    rows = [(name, sides[0].get(name, "none"), sides[1].get(name, "none")) for name in names]
    return [row for row in rows if row[1] != row[2]]


def _stated(manifest: Manifest) -> dict[str, str]:
    """What a person can compare, in words."""
    point = None if manifest.point is None else manifest.points[manifest.point]
    provenance = manifest.provenance
    return {
        "run": manifest.run,
        "arm": manifest.arm,
        "protocol": manifest.protocol,
        "seed": str(manifest.seed),
        "recommended": str(manifest.recommended).lower(),
        "image size, pixels": str(manifest.image_size),
        "backbone": ", ".join(f"{key} {value}" for key, value in manifest.backbone.items()),
        "temperature": f"{manifest.temperature:.4f}",
        "called malignant from": "none" if point is None else f"{point.threshold:.4f} ({point.fixed} {point.level:g})",
        "abstains below": f"{manifest.abstention.threshold:.4f}",
        "unlike train below": f"{manifest.unlike:g}",
        "overfitting gap, nats": "not recorded" if manifest.gap is None else f"{manifest.gap:.3f}",
        "train images": str(provenance.images.get("train")),
        "test images": str(provenance.images.get("test")),
        "split": provenance.split_sha256[:12],
        "Dermflow": provenance.dermflow,
        **{name: value[:12] for name, value in provenance.fingerprints.items()},
    }
