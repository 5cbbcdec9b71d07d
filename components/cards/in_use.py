"""What a model card says of class frequencies: those that the probabilities are for, and those of the clinic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.cards.page import per_thousand, plain_number, share, signed_number
from components.report.formatting import decimals, percent

Json = Mapping[str, Any]


@dataclass(frozen=True)
class InUse:
    """Class frequencies in words, and the same model's figures at those of the study and of the clinic."""

    trained: str
    """That the model's own probabilities are for: `equally frequent classes`, or the share of each class."""
    train: str
    """Of the train images, for which restored probabilities are."""
    clinic: str
    """Of the clinic; empty where they are not stated."""
    malignant: tuple[str, ...]
    """Share of malignant images in test and in the clinic, percent; empty where nothing is compared."""
    rows: tuple[tuple[str, str, str], ...]
    """Measure, this study, clinic; empty where nothing is compared."""
    benefit: tuple[tuple[str, str, str, str], ...]
    """Net benefit in the clinic, of 1,000 images: threshold probability, model, treat all, model minus the better of
    treat all and treat none (which has zero); empty where nothing is compared."""


def describe(plan: Json, assessment: Json) -> InUse:
    """From `plan` and the model's sheet of reports/clinical.json; numbers are means over seeds with intervals."""
    trained, clinic, compared = plan["trained_prior"], plan["deployment_frequencies"], assessment["deployment"]
    places = () if compared is None else (compared["study"], compared["deployed"])
    return InUse(
        trained="equally frequent classes" if _all_equal(trained) else _shares(trained),
        train=_shares(plan["train_frequencies"]),
        clinic="" if clinic is None else _shares(clinic),
        malignant=tuple(percent(each["malignant"]) for each in places),
        rows=tuple(_rows(*places)) if places else (),
        benefit=() if compared is None else tuple(_benefit(compared["deployed"]["benefit"])),
    )


def _all_equal(frequencies: Mapping[str, float]) -> bool:
    """Up to the decimals of the record."""
    return max(frequencies.values()) - min(frequencies.values()) < 1e-6


def _shares(frequencies: Mapping[str, float]) -> str:
    """`mel 11.1 %, nv 66.9 %`."""
    return ", ".join(f"{name} {percent(value)} %" for name, value in frequencies.items())


def _rows(study: Json, clinic: Json) -> list[tuple[str, str, str]]:
    """The figures of the clinical page's section on deployment."""
    found = []
    for at, there in zip(study["points"], clinic["points"], strict=True):
        where = f"threshold for {100 * at['level']:g} % {at['fixed']}"
        for title, rate in (("PPV", "ppv"), ("NPV", "npv"), ("Referred", "referred")):
            found.append((f"{title}, {where}", share(at["rates"][rate]), share(there["rates"][rate])))
    for title, name, form in (
        ("Mean probability of malignancy", "predicted", share),
        ("Calibration intercept, malignancy", "intercept", signed_number),
        ("Calibration slope, malignancy", "slope", plain_number),
    ):
        found.append((title, form(study["line"][name]), form(clinic["line"][name])))
    for title, name, form in (
        ("Calibration error, malignancy", "calibration_error", share),
        ("Log loss", "log_loss", plain_number),
    ):
        found.append((title, form(study[name]), form(clinic[name])))
    return found


def _benefit(curve: Json) -> list[tuple[str, str, str, str]]:
    """The decision curve of the clinical page, in numbers."""
    columns = (curve[name] for name in ("thresholds", "model", "all", "over_both"))
    return [
        (f"{100 * at:g} %", per_thousand(model), decimals(1000 * treat_all, 1, sign=True), per_thousand(over))
        for at, model, treat_all, over in zip(*columns, strict=True)
    ]
