"""The model card of the model chosen on val: what it is, its use, its performance by subgroup, and its limits.

Sections follow Mitchell et al., Model cards for model reporting, FAT* (2019), with the front matter that Hugging
Face reads. All numbers come from files of the run; the template has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.base.licence import Licence
from components.base.run_id import RunId
from components.cards import in_use, page
from components.cards.licences import limits_of_use
from components.cards.page import difference, plain_number, share, signed_number
from components.cards.settings import CardSettings
from components.clinical.subgroups import Subgroup
from components.report.formatting import DASH, count, exact, number, percent
from components.statistics.intervals import read_interval

Json = Mapping[str, Any]

OVERALL = {
    "balanced_accuracy": "Balanced accuracy",
    "macro_auroc": "Macro AUROC",
    "accuracy": "Accuracy",
    "log_loss": "Log loss",
    "ece": "Calibration error",
}
SHARES = ("balanced_accuracy", "accuracy", "ece")  # shown in percent
HUB_NAMES = {"macro_auroc": "roc_auc", "ece": "expected_calibration_error"}  # of metrics, on Hugging Face


@dataclass(frozen=True)
class WeightsRecords:
    """Headers of the files of weights."""

    classifier: Json
    """Classes, backbone, head."""
    encoder: Json
    """Arm, settings of its pretraining."""
    sha256: str
    """Of the classifier's file."""
    parameters: int


@dataclass(frozen=True)
class ModelRecords:
    """One fine-tuning run: what the stages recorded about it."""

    run: RunId
    comparison: Json
    """reports/comparison.json"""
    clinical: Json
    """reports/clinical.json"""
    measured: Json
    """metrics/evaluate.json, of this run."""
    finetuned: Json
    """metrics/finetune/RUN.json"""
    pretrained: Json
    """metrics/pretrain/ARM.json"""
    packed: Json
    """metrics/pack.json"""
    validation: Json
    """metrics/validation.json"""
    weights: WeightsRecords
    settings: Mapping[str, object]
    """Of the training, by their keys in params.yaml."""
    dataset: str
    """The adapter's kind."""
    licence: Licence
    """Of the images."""
    version: str
    """Of Dermflow."""
    external: Sequence[Json] = ()
    """reports/external/COHORT.json, in the order of params.yaml."""

    @property
    def published(self) -> Licence | None:
        """The published weights that the encoder started from; None for random weights."""
        found = self.pretrained["licence"]
        return None if found is None else Licence(**found)

    @property
    def row(self) -> Json:
        """The record of the run's arm and protocol in the comparison."""
        return self.own(self.comparison["rows"])

    @property
    def assessment(self) -> Json:
        """The record of the run's arm and protocol in the clinical assessment."""
        return self.own(self.clinical["sheets"])

    @property
    def place(self) -> int:
        """Position of the run's seed among the seeds of the study."""
        return list(self.comparison["plan"]["seeds"]).index(self.run.seed)

    def own(self, found: Sequence[Json]) -> Json:
        """The record of the run's arm and protocol among those of all."""
        return next(each for each in found if (each["arm"], each["protocol"]) == (self.run.arm, self.run.protocol))


def write(model: ModelRecords, settings: CardSettings) -> str:
    """The card as Markdown; the same run gives the same bytes."""
    plan = model.clinical["plan"]
    return page.fill(
        "cards/model_card.md.j2",
        front=page.front_matter(_front_matter(model, settings)),
        model=model,
        plan=model.comparison["plan"],
        clinical=plan,
        data=model.licence,
        data_terms=settings.data_licence or model.licence.terms,
        limits_of_use=limits_of_use(_sources(model)),
        stated=page.stated(settings),
        missing_statements=page.missing_statements(settings),
        few=model.comparison["few_lesions"],
        confidence=f"{100 * plan['confidence']:g}",
        overall=_overall(model),
        classes=_classes(model),
        external=[_external(model, record) for record in model.external],
        operating=_operating(model),
        calibration=_calibration(model),
        in_use=in_use.describe(plan, model.assessment),
        not_stated=page.NOT_STATED,
        temperature=exact(model.assessment["calibration"]["temperatures"][model.place]),
        subgroups=_subgroups(model),
        missing={name: percent(each) for name, each in model.validation["profile"]["missing"].items()},
        threshold_level=f"{100 * plan['levels'][0]:g}",
    )


def _sources(model: ModelRecords) -> dict[str, Licence]:
    """Images and published weights that the model was made from."""
    weights = {} if model.published is None else {"initialised with": model.published}
    return {"trained on": model.licence, **weights}


def _front_matter(model: ModelRecords, settings: CardSettings) -> dict[str, Any]:
    """Hugging Face's keys; the results are the run's own, on test images."""
    header = model.weights
    tags = [header.classifier["backbone"]["kind"], header.encoder["arm"], "dermatology", "dermflow"]
    synthetic = ["synthetic"] if model.comparison["plan"]["synthetic"] else []
    known = {name: model.measured[name] for name in OVERALL if model.measured.get(name) is not None}
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"name": model.licence.name, "type": model.dataset, "split": "test"},
        "metrics": [
            {"type": HUB_NAMES.get(name, name), "name": OVERALL[name], "value": float(value)}
            for name, value in known.items()
        ],
    }
    return {
        "license": settings.weights_licence or "unknown",
        "library_name": "dermflow",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", *tags, "not-a-medical-device", *synthetic],
        "datasets": [model.dataset],
        "metrics": [HUB_NAMES.get(name, name) for name in known],
        "model-index": [{"name": str(model.run), "results": [result]}],
    }


def _format(name: str, value: float | None) -> str:
    if value is None:
        return DASH
    return f"{percent(value)} %" if name in SHARES else number(value)


def _overall(model: ModelRecords) -> list[tuple[str, str, str]]:
    """Measure, this run's value, the mean of the seeds with its interval."""
    found = model.row["test"]
    return [
        (title, _format(name, model.measured.get(name)), (share if name in SHARES else plain_number)(found[name]))
        for name, title in OVERALL.items()
    ]


def _classes(model: ModelRecords) -> list[dict[str, str]]:
    """Each class with its test images and lesions, sensitivity and specificity."""
    lesions, images, few = (model.comparison[key] for key in ("test_lesions", "test_images", "few_lesions"))
    return [
        {
            "name": f"{name} †" if lesions[name] < few else name,
            "images": count(images[name]),
            "lesions": count(lesions[name]),
            "sensitivity": share(model.row["test"][f"sensitivity.{name}"]),
            "own": _percent_of(model.measured["sensitivity"].get(name)),
            "specificity": _percent_of(model.measured["specificity"].get(name)),
        }
        for name in model.comparison["plan"]["classes"]
    ]


def _percent_of(value: float | None) -> str:
    return DASH if value is None else f"{percent(value)} %"


def _external(model: ModelRecords, record: Json) -> dict[str, Any]:
    """Balanced accuracy of the run's arm and protocol on one external test set."""
    labels, changed = record["labels"], model.own(record["sheets"])["changes"]["balanced_accuracy"]
    images = sum(each["external_images"] for each in labels["classes"] if each["name"] in labels["compared"])
    return {
        "name": record["plan"]["cohort"],
        "data": Licence(**record["data"]),
        "images": count(images),
        "lesions": count(record["lesions"]["external"]),
        "classes": labels["compared"],
        "internal": share(changed["internal"]),
        "external": share(changed["external"]),
        "drop": difference(changed["drop"]),
        "missing_ids": record["plan"]["missing_ids"]["external"],
    }


def _operating(model: ModelRecords) -> list[dict[str, str]]:
    """Each threshold chosen on val, with the rates on test images."""
    return [
        {
            "subject": f"{each['subject']} ({each['positives']} lesions)",
            "target": f"{100 * point['level']:g} % {point['fixed']}",
            "threshold": exact(point["thresholds"][model.place]),
            **{name: share(found) for name, found in point["test"].items()},
        }
        for each in model.assessment["operating"]
        for point in each["points"]
    ]


def _calibration(model: ModelRecords) -> list[tuple[str, str, str]]:
    """Measure, as trained and for clinical use."""
    found = model.assessment["calibration"]
    before, after = found["before"], found["after"]
    return [
        ("Log loss", plain_number(before["log_loss"]), plain_number(after["log_loss"])),
        ("Brier score", plain_number(before["brier"]), plain_number(after["brier"])),
        (
            "Squared calibration error, debiased: zero on average for a perfect model",
            signed_number(before["errors"]["squared"]),
            signed_number(after["errors"]["squared"]),
        ),
        (
            "Mean probability of the predicted class minus share of right answers, points",
            difference(before["errors"]["overconfidence"]),
            difference(after["errors"]["overconfidence"]),
        ),
    ]


def _subgroups(model: ModelRecords) -> dict[str, Any] | None:
    """The subgroups with enough lesions, and the names of the others; None where no attribute is known."""
    found = model.assessment["subgroups"]
    if found is None:
        return None
    hidden = [each for each in found["subgroups"] if each["groups"] is None]
    shown = [_subgroup(each) for each in found["subgroups"] if each["groups"] is not None]
    return {
        "least": found["least"],
        "single_confidence": f"{100 * found['alone']:.2f}",
        "comparisons": found["comparisons"],
        "attributes": list(dict.fromkeys(each["attribute"] for each in found["subgroups"])),
        "shown": [_shown(each) for each in shown],
        "hidden": [f"{each['attribute']}: {each['value']}" for each in hidden],
    }


def _subgroup(found: Json) -> Subgroup:
    return Subgroup(
        attribute=found["attribute"],
        value=found["value"],
        images=found["images"],
        groups=found["groups"],
        classes=tuple(found["classes"]),
        values={name: read_interval(each) for name, each in found["values"].items()},
        differences={name: read_interval(each) for name, each in found["differences"].items()},
        by_seed={name: tuple(seeds) for name, seeds in found["by_seed"].items()},
    )


def _shown(each: Subgroup) -> dict[str, str]:
    cells = {name: _cell(each, name) for name in ("balanced_accuracy", "sensitivity", "specificity")}
    below = [name.replace("_", " ") for name in cells if each.is_worse(name)]
    return {
        "name": f"{each.attribute}: {each.value}",
        "images": count(each.images),
        "lesions": count(each.groups),
        "below": ", ".join(below) or "no",
        **cells,
    }


def _cell(each: Subgroup, measure: str) -> str:
    """Its value and the difference from all other images; no number from too few lesions."""
    if measure not in each.differences:
        return "too few lesions"
    value, against = vars(each.values[measure]), vars(each.differences[measure])
    return f"{share(value)}; {difference(against)}"
