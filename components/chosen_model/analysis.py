"""What the model for use does with the test images at its operating point, diagnosis by diagnosis and group by group.

There is one answer to "how many melanomas are missed": of 100 melanomas so many are found (called malignant), called
benign, or left unanswered, as `dermflow predict` would answer these images. A lesion with several images counts
once: of its images the share that is answered so. Intervals are over lesions or patients of this one model; they hold
for images like these alone. Letters: N images, C columns of resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.clinical.attributes import UNKNOWN, describe, hidden_sizes
from components.clinical.subgroups import SKIN_TYPE, SKIN_TYPES
from components.data.vocabulary import diagnosis_name, is_melanoma
from components.deployment.decisions import decide
from components.deployment.manifest import Manifest
from components.statistics.intervals import Interval
from components.statistics.resampled import DIFFERENCE, Resampled, resample
from components.statistics.weighting import weighted_mean

Array = npt.NDArray[Any]

HISTOLOGY = "histology"

ATTRIBUTES = {"skin_type": SKIN_TYPE, "age": "age", "site": "body site", "sex": "sex"}
"""By which the sensitivity for melanoma is shown, and their names."""


@dataclass(frozen=True)
class Answered:
    """What the model says of the test images of one diagnosis, or of one kind of lesion."""

    name: str
    images: int
    lesions: int
    groups: int
    """What the intervals are over: lesions or patients."""
    malignant: Interval
    """Share that is called malignant, so found where it is malignant."""
    benign: Interval
    """Share that is called benign."""
    unanswered: Interval
    """Share that is left to a person, since the model is not confident enough."""
    of_100: Mapping[str, int]
    """The three shares of 100, whole numbers that add up to 100."""


@dataclass(frozen=True)
class Group:
    """Melanomas of one group of patients."""

    attribute: str
    value: str
    lesions: int | None
    """Melanomas; None: fewer than may be shown, or none."""
    found: Interval | None
    """Share of them that is called malignant; None where nothing may be shown."""


@dataclass(frozen=True)
class ChosenModel:
    """The model for use on the test images."""

    images: int
    lesions: int
    patients: int | None
    """None where not every image has the id of a patient."""
    melanoma: Answered | None
    """None where no test image has this diagnosis."""
    malignant: Answered
    benign: Answered
    diagnoses: tuple[Answered, ...]
    histology: tuple[Answered, ...]
    """Melanoma, malignant and benign, of the images whose diagnosis is confirmed by histology; empty without any."""
    confirmed: Mapping[str, float | None]
    """`malignant` and `benign`: share of the images whose diagnosis is confirmed by histology.

    None where it is not known how any diagnosis was confirmed.
    """
    groups: tuple[Group, ...]
    least: int
    """Melanomas below which a group shows no number."""
    overconfidence: Interval
    """Mean probability of malignancy minus the share of malignant images, for train's class frequencies."""
    unknown: Mapping[str, float]
    """Of ATTRIBUTES: the share of test images of which it is not known."""


def of_hundred(shares: Sequence[float]) -> list[int]:
    """Shares that add up to 1 as whole numbers that add up to 100 (largest remainders)."""
    exact = 100 * np.asarray(shares)
    whole = np.floor(exact + 1e-9).astype(int)
    for place in np.argsort(-(exact - whole), kind="stable")[: 100 - whole.sum()]:
        whole[place] += 1
    return [int(each) for each in whole]


def assess_chosen(
    table: pd.DataFrame,
    accepted: pd.DataFrame,
    manifest: Manifest,
    *,
    ages: Sequence[int],
    least: int,
    resamples: int,
    confidence: float,
    seed: int,
) -> ChosenModel:
    """The model of a bundle that has an operating point.

    Args:
        table: the run's predictions on test images: image_id, lesion_id, group, label, p_CLASS.
        accepted: the accepted images with diagnosis, patient_id and what is known of patients.
        manifest: of the bundle; `point` is not None.
        ages: edges of the age bands, years.
        least: melanomas below which a group shows no number.
        resamples: of the bootstrap.
        confidence: of each interval.
        seed: of the resamples.
    """
    table = table.sort_values("image_id", ignore_index=True)
    known = accepted.set_index("image_id").loc[table["image_id"]]
    answers = decide(table[[f"p_{name}" for name in manifest.classes]].to_numpy(float), manifest)
    assert answers.malignant is not None
    malignant = table["label"].isin(manifest.malignant).to_numpy()
    labels = pd.Categorical(table["label"], categories=list(manifest.classes)).codes.astype(np.intp)
    rng = np.random.default_rng(seed)
    sample = resample(labels, table["group"].to_numpy(str), resamples, confidence, rng)
    seen = _Seen(sample, table["lesion_id"].to_numpy(str), answers.malignant, answers.sure)
    diagnosis = known["diagnosis"].astype(str)
    melanoma = diagnosis.map(is_melanoma).to_numpy(bool)
    how = known["confirmation"] if "confirmation" in known else pd.Series(UNKNOWN, index=known.index)
    stated, by_histology = (how != UNKNOWN).to_numpy(), (how == HISTOLOGY).to_numpy()
    free = resample(np.zeros_like(labels), sample.groups, resamples, confidence, rng)
    # not `malignancy`: it may be for a clinic's class frequencies, and the test images have those of the study
    malignancy = answers.calibrated[:, np.isin(manifest.classes, manifest.malignant)].sum(1)
    error = weighted_mean((malignancy - malignant)[None], free.weights)
    patients = known["patient_id"]
    words = sorted(diagnosis.unique(), key=lambda word: (not malignant[(diagnosis == word).to_numpy()].any(), word))
    described = describe(list(table["image_id"]), accepted, table[["image_id"]], ages)
    return ChosenModel(
        images=len(table),
        lesions=table["lesion_id"].nunique(),
        patients=None if patients.isna().any() else int(patients.nunique()),
        melanoma=seen.answered("melanoma", melanoma) if melanoma.any() else None,
        malignant=seen.answered("malignant", malignant),
        benign=seen.answered("benign", ~malignant),
        diagnoses=tuple(seen.answered(diagnosis_name(word), (diagnosis == word).to_numpy()) for word in words),
        histology=tuple(
            seen.answered(name, rows & by_histology)
            for name, rows in (("melanoma", melanoma), ("malignant", malignant), ("benign", ~malignant))
            if (rows & by_histology).any()
        ),
        confirmed={
            name: float(by_histology[rows].mean()) if stated.any() and rows.any() else None
            for name, rows in (("malignant", malignant), ("benign", ~malignant))
        },
        groups=tuple(_groups(seen, described, melanoma, least)),
        least=least,
        overconfidence=free.interval(error.reshape(1, -1), DIFFERENCE),
        unknown={title: _unknown(described, title) for title in ATTRIBUTES.values()},
    )


@dataclass(frozen=True)
class _Seen:
    """The answers to the test images."""

    sample: Resampled
    lesions: Array  # (N,) ids
    called: Array  # (N,) bool, called malignant
    sure: Array  # (N,) bool, answered

    def share(self, marked: Array, among: Array) -> Interval:
        return self.sample.share_of_lesions(marked, self.lesions, among)

    def answered(self, name: str, among: Array) -> Answered:
        malignant = self.share(self.called & self.sure, among)
        benign = self.share(~self.called & self.sure, among)
        unanswered = self.share(~self.sure, among)
        whole = of_hundred([malignant.mean, benign.mean, unanswered.mean])
        return Answered(
            name,
            int(among.sum()),
            len(set(self.lesions[among])),
            self.sample.count_groups(among),
            malignant,
            benign,
            unanswered,
            of_100=dict(zip(("malignant", "benign", "unanswered"), whole, strict=True)),
        )


def _column(described: pd.DataFrame, title: str) -> pd.Series:
    """An attribute by the name of this page; all unknown where too little is known of it."""
    name = "site" if title == "body site" else title
    return described[name] if name in described else pd.Series(UNKNOWN, index=described.index)


def _unknown(described: pd.DataFrame, title: str) -> float:
    return float((_column(described, title) == UNKNOWN).mean())


def _groups(seen: _Seen, described: pd.DataFrame, melanoma: Array, least: int) -> list[Group]:
    """Every known value of ATTRIBUTES; of a value with fewer than `least` melanomas nothing is shown.

    Neither is it of the next smallest one, where the total would reveal a number (`attributes.hidden_sizes`).
    """
    found = []
    for title in ATTRIBUTES.values():
        column = _column(described, title)
        words = [word for word in sorted(set(column), key=_order) if word != UNKNOWN] or [UNKNOWN]
        names = {str(place): name for place, name in enumerate(SKIN_TYPES, start=1)}
        names = names if title == SKIN_TYPE else {word: word for word in words}
        among = {word: (column == word).to_numpy() & melanoma for word in names}
        lesions = {word: len(set(seen.lesions[each])) for word, each in among.items()}
        hidden = hidden_sizes(lesions, least) | {UNKNOWN}
        for word, name in names.items():
            if word in hidden:
                found.append(Group(title, name, None, None))
            else:
                share = seen.share(seen.called & seen.sure, among[word])
                found.append(Group(title, name, lesions[word], share))
    return found


def _order(word: str) -> tuple[bool, str]:
    return (not word.startswith("under "), word)
