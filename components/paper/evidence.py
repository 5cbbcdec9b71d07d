"""The differences by which the paper's claims are tested, from what other stages wrote: nothing is measured twice.

Only the three measures of the learning curves are computed for this page, since no other stage needs them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from components.base.errors import DataError
from components.base.run_id import FinetuneProtocol, RunId, model_name
from components.comparison.against_null import read_against_null
from components.comparison.overfitting_gap import DECIDING_GAP
from components.paper.claims import Measurement, Standing
from components.paper.curve_measures import Array
from components.paper.val_curves import difference, measure_curves
from components.statistics.bootstrap import Sample
from components.statistics.intervals import Interval, read_interval
from components.statistics.rule import Rule
from components.statistics.runs import Run
from components.statistics.significance import smallest_p

Json = Mapping[str, Any]

LEADING = "balanced_accuracy"
"""The metric that external validation and label efficiency decide by."""

PICTURE = "without_lesion"
"""The masked picture whose kept share decides; that of the border has fewer images, and is on the robustness page."""

CURVE_MEASURES: Mapping[str, tuple[str, str]] = {
    "convergence": ("epochs to converge", "epochs"),
    "fall": ("change of val loss, %", "percent"),
    "steadiness": ("share of falls, %", "percent"),
}
"""Claim: name and form of the measurement; a smaller value confirms each."""


@dataclass(frozen=True)
class PaperRecords:
    """What other stages wrote of the study."""

    comparison: Json
    """reports/comparison.json."""
    robustness: Json
    """reports/robustness.json."""
    external: Sequence[Json]
    """reports/external/COHORT.json of each external test set."""
    label_efficiency: Mapping[str, Json]
    """reports/label_efficiency/PROTOCOL.json by protocol."""
    probes: Json
    """reports/pretraining.json."""
    runs: Sequence[Run]
    """Every run with its curve and its images by epoch; predictions are not read."""
    kinds: Mapping[str, str]
    """Arm: the kind of its pretraining (pretrain.arms)."""
    published: Collection[str]
    """Arms whose pretraining starts from published weights."""

    @property
    def rule(self) -> Rule:
        """The rule of the comparison."""
        return Rule(**self.comparison["plan"]["rule"])

    @property
    def reference(self) -> str:
        """The arm that the others are compared with."""
        return str(self.comparison["plan"]["reference"])

    @cached_property
    def curve_measures(self) -> dict[str, tuple[dict[str, Sample], Array]]:
        """Of every run, measured once."""
        plan = self.comparison["plan"]
        return measure_curves(self.runs, plan["classes"], plan["resamples"], plan["seed"])

    @property
    def resamples(self) -> int:
        """The fewest resamples that any p-value of the page is of."""
        found = (self.comparison, self.robustness, *self.external, *self.label_efficiency.values())
        return min(int(each["plan"]["resamples"]) for each in found)

    def standing(self, arm: str, protocol: str) -> Standing:
        """Why arm and reference get no credit, by the rule of the verdicts."""
        ahead, behind = (
            read_against_null(
                self.comparison["against_null"][model_name(name, FinetuneProtocol(protocol))]
            ).why_no_credit(name, self.rule.confidence)
            for name in (arm, self.reference)
        )
        return Standing(ahead, behind)


def measure(records: PaperRecords, arm: str, protocol: str) -> list[Measurement]:
    """Every difference between an arm and the reference under one protocol that the study measured, claim by claim."""
    return [
        *_from_curves(records, arm, protocol),
        _gap(records, arm, protocol),
        *_kept(records, arm, protocol),
        *_external(records, arm, protocol),
        *_labels(records, arm, protocol),
        _probed(records, arm),
    ]


def _from_curves(records: PaperRecords, arm: str, protocol: str) -> list[Measurement]:
    """Convergence, relative fall and steadiness."""
    seeds = records.comparison["plan"]["seeds"]
    ours, theirs = (
        [records.curve_measures[str(RunId(side, FinetuneProtocol(protocol), seed))] for seed in seeds]
        for side in (arm, records.reference)
    )
    found = []
    for claim, (name, form) in CURVE_MEASURES.items():
        estimated = difference(ours, theirs, claim)
        found.append(
            Measurement(
                claim=claim,
                name=name,
                form=form,
                arm=float(np.mean([samples[claim].value for samples, _ in ours])),
                reference=float(np.mean([samples[claim].value for samples, _ in theirs])),
                difference=estimated.interval(records.rule.confidence),
                p=estimated.p_value(),
                claimed=-1,
                seeds=len(seeds),
            )
        )
    return found


def _gap(records: PaperRecords, arm: str, protocol: str) -> Measurement:
    """The overfitting gap as the comparison's verdict has it."""
    found = _one(records.comparison["differences"], arm, protocol)
    sides = [_one(records.comparison["rows"], name, protocol) for name in (arm, records.reference)]
    ours, theirs = (_number(side["gaps"][DECIDING_GAP]["mean"]) for side in sides)
    return Measurement(
        claim="gap",
        name="gap in loss",
        form="signed",
        arm=ours,
        reference=theirs,
        difference=read_interval(found["gap"]),
        p=found["tests"]["gap"]["p"],
        claimed=-1,
        seeds=len(records.comparison["plan"]["seeds"]),
    )


def _kept(records: PaperRecords, arm: str, protocol: str) -> list[Measurement]:
    """The accuracy that is kept with the lesion masked; nothing where too few lesions were found."""
    ours, theirs = (_kept_share(records.robustness, name, protocol) for name in (arm, records.reference))
    if ours is None or theirs is None:
        return []
    return [
        Measurement(
            claim="shortcuts",
            name="kept with the lesion masked, %",
            form="percent",
            arm=_number(ours["share"]["mean"]),
            reference=_number(theirs["share"]["mean"]),
            difference=read_interval(ours["difference"]["interval"]),
            p=ours["difference"]["p"],
            claimed=-1,
            seeds=records.robustness["seeds"],
        )
    ]


def _kept_share(robustness: Json, arm: str, protocol: str) -> Json | None:
    shortcuts = _one(robustness["sheets"], arm, protocol)["shortcuts"]
    found: Json | None = next(each["kept"] for each in shortcuts if each["picture"] == PICTURE)
    return found


def _external(records: PaperRecords, arm: str, protocol: str) -> list[Measurement]:
    """The change of balanced accuracy on each external test set."""
    found = []
    for record in records.external:
        ours, theirs = (_one(record["sheets"], name, protocol) for name in (arm, records.reference))
        found.append(
            Measurement(
                claim="adaptability",
                name=f"change on {record['plan']['cohort']}, points",
                form="points",
                arm=_number(ours["changes"][LEADING]["drop"]["mean"]),
                reference=_number(theirs["changes"][LEADING]["drop"]["mean"]),
                difference=read_interval(ours["changes"][LEADING]["against"]),
                p=ours["travels"]["p"],
                claimed=1,
                seeds=ours["seeds"],
            )
        )
    return found


def _labels(records: PaperRecords, arm: str, protocol: str) -> list[Measurement]:
    """The share of the train lesions with which the arm reaches what the reference reaches with all."""
    if protocol not in records.label_efficiency:
        return []
    record = records.label_efficiency[protocol]
    found = next(each for each in record["answers"] if (each["arm"], each["metric"]) == (arm, LEADING))["enough"]
    share, low, high = (_share(found[end]) for end in ("share", "low", "high"))
    resamples = record["plan"]["resamples"]
    return [
        Measurement(
            claim="adaptability",
            name="lesions needed, % of all",
            form="lesions",
            arm=share,
            reference=1.0,
            difference=Interval(share - 1, low - 1, high - 1),
            p=max(2 * min(found["beyond"], 1 - found["beyond"]), smallest_p(resamples)),  # of needing all lesions
            claimed=-1,
            seeds=len(record["plan"]["seeds"]),
        )
    ]


def _probed(records: PaperRecords, arm: str) -> Measurement:
    """What the encoders know of the classes before fine-tuning; the same under every protocol."""
    sides = {each["arm"]: each for each in records.probes["arms"]}
    (found,) = [each for each in records.probes["differences"] if each["arm"] == arm]
    return Measurement(
        claim="latent",
        name="probe of the encoder, %",
        form="percent",
        arm=_number(sides[arm]["accuracy"]["mean"]),
        reference=_number(sides[records.reference]["accuracy"]["mean"]),
        difference=read_interval(found["difference"]),
        p=found["p"],
        claimed=1,
        seeds=len(sides[arm]["encoders"]),
    )


def _share(value: float | str) -> float:
    """A share of the train lesions; minus infinity below the smallest that was tried, infinity beyond all."""
    return {"below": -np.inf, "beyond": np.inf}[value] if isinstance(value, str) else float(value)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _one(rows: Sequence[Json], arm: str, protocol: str) -> Json:
    """The row of an arm under a protocol."""
    found = [row for row in rows if (row["arm"], row["protocol"]) == (arm, protocol)]
    if len(found) != 1:
        raise DataError(f"a record has {len(found)} rows of {arm}, {protocol}, expected 1; repeat: dvc repro paper")
    return found[0]
