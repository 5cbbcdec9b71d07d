"""Whether the study follows a protocol that was locked before its test images were opened.

A protocol is what decides the verdicts: endpoint, margin, confidence, seeds, arms, the settings of training and split.
`dermflow lock` writes it down. A study with the same protocol is confirmatory; any other is exploratory, and so is one
whose test images had been opened before the lock.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pydantic_core import to_jsonable_python

from components.base.keys import flat_keys

ENDPOINT = "balanced accuracy on test images, arm minus reference; second: overfitting gap in loss"

DECIDING = ("confidence", "looks", "margin", "min_seeds", "resamples", "seed")
"""Settings of `compare` that decide a verdict; the others plan and draw."""

JUDGING = ("accept", "ages", "answered", "least_groups", "malignant")
"""Settings of `clinical` on which fitness for use depends, where there are criteria (`clinical.accept`)."""

SHOWN = 5
"""Differences that a sentence names."""

DIGITS = 12
"""Of a hash that is shown."""


@dataclass(frozen=True)
class Opening:
    """A set of models whose predictions on test images were measured."""

    date: str
    """ISO 8601, UTC."""
    images: str
    """`images_sha256` of the test images."""
    models: str
    """Hash of the classifiers."""
    what: str
    """`18 models: vae, imagenet, random; frozen, full; seeds 0, 1, 2`."""


@dataclass(frozen=True)
class Lock:
    """A protocol with when, and on which commit, it was locked."""

    date: str
    """ISO 8601, UTC."""
    commit: str
    openings: int
    """How often the test images had been opened then."""
    images: str | None
    """`images_sha256` of the test images; None where there was no split yet."""
    settings: Sequence[str]
    """Of `describe_protocol`."""
    sha256: str
    """Of settings and images, as `protocol_sha256` gave it when the protocol was locked."""


@dataclass(frozen=True)
class Standing:
    """Confirmatory or exploratory, and how often the test images were opened before."""

    confirmatory: bool
    sentence: str
    """Whether and when the protocol was locked."""
    openings: str
    """How often other models were measured on these test images before; empty where none was."""


def describe_protocol(sections: Mapping[str, object]) -> list[str]:
    """Every setting that the protocol fixes, as lines `key = value`, keys as in params.yaml, values as JSON.

    Args:
        sections: of params.yaml; of `compare`, the settings that decide are taken, of `study`, all but its name, and of
            `clinical`, where it has criteria of fitness for use, those of JUDGING. The external test sets are fixed, by
            name and diagnoses, where a criterion is about them.
    """
    found = to_jsonable_python(dict(sections))
    found["study"].pop("name", None)
    found["compare"] = {name: found["compare"][name] for name in DECIDING}
    clinical, external = found.pop("clinical", {}), found.pop("external", ())
    accept = clinical.get("accept")
    found["clinical"] = {name: clinical[name] for name in JUDGING} if accept else {}
    found["external"] = _cohorts(external) if accept and accept["external"] is not None else {}
    values = {"endpoint": ENDPOINT, **flat_keys(found, ".")}
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]


def _cohorts(external: Sequence[Mapping[str, Any]]) -> dict[str, list[list[str | None]]]:
    """Each external test set with its diagnoses, as pairs; not with its place, which differs between machines."""
    return {each["name"]: sorted([theirs, ours] for theirs, ours in each["diagnoses"].items()) for each in external}


def images_sha256(table: pd.DataFrame) -> str:
    """Hash of test images by their columns image_id, label and group, in any order."""
    columns = table[["image_id", "label", "group"]].astype(str).sort_values("image_id")
    return hashlib.sha256(columns.to_csv(index=False, lineterminator="\n").encode()).hexdigest()


def protocol_sha256(settings: Sequence[str], images: str | None) -> str:
    """Hash of a protocol, which does not depend on the order of its settings."""
    return hashlib.sha256("\n".join([*sorted(settings), f"images = {images}"]).encode()).hexdigest()


def standing(
    lock: Lock | None, settings: Sequence[str], images: str, models: str, openings: Sequence[Opening]
) -> Standing:
    """Judge a study by the lock and by earlier openings of its test images.

    Args:
        lock: None where no protocol was locked.
        settings: of the study, as `describe_protocol` gives them.
        images: hash of its test images.
        models: hash of its models.
        openings: all that are known, of any test images, in their order.
    """
    of_these = [each for each in openings if each.images == images]
    own = next((place for place, each in enumerate(of_these) if each.models == models), len(of_these))
    reason = _why_exploratory(lock, settings, images, of_these)
    if reason or lock is None:
        return Standing(False, f"Exploratory: {reason}.", _about_openings(of_these[:own]))
    sentence = f"Confirmatory: {_locked(lock)}, before the test images were opened."
    return Standing(True, sentence, _about_openings(of_these[:own]))


def _why_exploratory(lock: Lock | None, settings: Sequence[str], images: str, openings: Sequence[Opening]) -> str:
    """Empty where the study is confirmatory."""
    if lock is None:
        return "no protocol was locked before the test images were opened"
    if lock.sha256 != protocol_sha256(lock.settings, lock.images):
        return "protocol.lock.yaml was edited after it was locked"
    now, then = (dict(line.split(" = ", 1) for line in lines) for lines in (settings, lock.settings))
    if lock.images is not None:
        now["test images"], then["test images"] = images[:DIGITS], lock.images[:DIGITS]
    if _is_planned(now, then):
        now["study.seeds"] = then["study.seeds"]
    # a setting that is newer than the lock is null where it changes nothing
    names = [name for name in dict.fromkeys([*then, *now]) if now.get(name, "null") != then.get(name, "null")]
    if names:
        shown = [f"{name} ({now.get(name)}, locked {then.get(name)})" for name in names[:SHOWN]]
        more = [f"{len(names) - SHOWN} more settings"] if len(names) > SHOWN else []
        return f"the study differs from the locked protocol in {', '.join([*shown, *more])}"
    earlier = max(lock.openings, sum(each.date < lock.date for each in openings))
    if earlier:
        return f"{_locked(lock)}, after the test images had been opened {_times(earlier)}"
    return ""


def _is_planned(now: Mapping[str, str], then: Mapping[str, str]) -> bool:
    """Whether the study has the number of seeds of one of the looks that the protocol plans."""
    looks: list[int] = json.loads(then.get("compare.looks", "null")) or []
    return len(json.loads(now["study.seeds"])) in looks


def _locked(lock: Lock) -> str:
    return f"the protocol was locked on {lock.date[:10]} ({lock.sha256[:DIGITS]})"


def _about_openings(earlier: Sequence[Opening]) -> str:
    if not earlier:
        return ""
    shown = "; ".join(f"{each.date[:10]}, {each.what}" for each in earlier)
    return (
        f"The test images of this split were opened {_times(len(earlier))} before, with other models: {shown}. Each "
        "time lets the choice of models depend on these images, which no interval shows."
    )


def _times(count: int) -> str:
    return f"{count} time{'s' * (count != 1)}"
