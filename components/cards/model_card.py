"""The model card of the model that val chose: what it is, what it is for, how well it does for whom, and its limits.

Sections follow Mitchell et al., Model cards for model reporting, FAT* (2019), with the front matter that Hugging
Face reads. Every number comes from a file of the run; the template has none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.cards import licences, page
from components.cards.page import difference, interval, plain_number, share
from components.clinical.subgroups import Subgroup
from components.report.formatting import DASH, number, percent

Json = Mapping[str, Any]

OVERALL = {
    "balanced_accuracy": "Balanced accuracy",
    "macro_auroc": "Macro AUROC",
    "accuracy": "Accuracy",
    "log_loss": "Log loss",
    "ece": "Calibration error",
}
SHARES = ("balanced_accuracy", "accuracy", "ece")  # shown in percent
HUB_NAMES = {"macro_auroc": "roc_auc", "ece": "expected_calibration_error"}  # as Hugging Face calls metrics


@dataclass(frozen=True)
class Weights:
    """What the files of weights say of themselves."""

    classifier: Json  # the header: classes, backbone, head
    encoder: Json  # the header: arm, settings of its pretraining
    sha256: str  # of the classifier's file
    parameters: int


@dataclass(frozen=True)
class Model:
    """One fine-tuning run, and what the stages before wrote about it."""

    comparison: Json
    clinical: Json
    measured: Json  # metrics/evaluate.json of the run
    finetuned: Json  # metrics/finetune
    pretrained: Json  # metrics/pretrain
    packed: Json
    split: Json
    validation: Json
    weights: Weights
    settings: Mapping[str, object]  # of the training, by their keys in params.yaml
    dataset: str  # the adapter's kind
    version: str  # of Dermflow

    @property
    def run(self) -> str:
        """`<arm>-<protocol>-<seed>`."""
        return str(self.comparison["recommendation"]["run"])

    @property
    def row(self) -> Json:
        """The arm and protocol, in the comparison."""
        return self._chosen(self.comparison["rows"])

    @property
    def sheet(self) -> Json:
        """The arm and protocol at the bedside."""
        return self._chosen(self.clinical["sheets"])

    @property
    def place(self) -> int:
        """Which of the seeds the run is."""
        seed = int(self.run.rpartition("-")[2])
        return int(list(self.comparison["plan"]["seeds"]).index(seed))

    def _chosen(self, found: Sequence[Json]) -> Json:
        name = self.comparison["recommendation"]["chosen"]
        return next(each for each in found if f"{each['arm']}-{each['protocol']}" == name)


def write(model: Model, said: Mapping[str, str | None]) -> str:
    """The card as Markdown; the same run gives the same bytes. `said` is the section `cards` of params.yaml."""
    data, weights = licences.of_data(model.dataset), licences.of_weights(model.weights.encoder["settings"])
    plan = model.clinical["plan"]
    return page.fill(
        "cards/model_card.md.j2",
        front=page.front_matter(_front(model, said)),
        model=model,
        plan=model.comparison["plan"],
        clinical=plan,
        data=data,
        begun_from=weights,
        data_licence=said["data_licence"] or data.terms,
        limits_of_use=limits_of_use(data, weights),
        stated=page.stated(said),
        unsaid=page.unsaid(said),
        few=model.comparison["few_lesions"],
        sure=f"{100 * plan['confidence']:g}",
        overall=_overall(model),
        classes=_classes(model),
        operating=_operating(model),
        calibration=_calibration(model),
        temperature=number(model.sheet["calibration"]["temperatures"][model.place]),
        subgroups=_subgroups(model),
        missing={name: percent(each) for name, each in model.validation["profile"]["missing"].items()},
        threshold_level=f"{100 * plan['levels'][0]:g}",
    )


def limits_of_use(data: licences.Provenance, weights: licences.Provenance | None) -> list[str]:
    """What the owners of images and weights do not allow."""
    return licences.limits_of_use({"trained on": data, **({"begun from": weights} if weights else {})})


def _front(model: Model, said: Mapping[str, str | None]) -> dict[str, Any]:
    """Hugging Face's keys; the results are the run's own, on test images."""
    data, header = licences.of_data(model.dataset), model.weights
    words = [header.classifier["backbone"]["kind"], header.encoder["arm"], "dermatology", "dermflow"]
    synthetic = ["synthetic"] if model.comparison["plan"]["synthetic"] else []
    known = {name: model.measured[name] for name in OVERALL if model.measured.get(name) is not None}
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"name": data.name, "type": model.dataset, "split": "test"},
        "metrics": [
            {"type": HUB_NAMES.get(name, name), "name": OVERALL[name], "value": round(float(value), 6)}
            for name, value in known.items()
        ],
    }
    return {
        "license": said["weights_licence"] or "unknown",
        "library_name": "dermflow",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", *words, "not-a-medical-device", *synthetic],
        "datasets": [model.dataset],
        "metrics": [HUB_NAMES.get(name, name) for name in known],
        "model-index": [{"name": model.run, "results": [result]}],
    }


def _form(name: str, value: float | None) -> str:
    if value is None:
        return DASH
    return f"{percent(value)} %" if name in SHARES else number(value)


def _overall(model: Model) -> list[tuple[str, str, str]]:
    """Measure, this run's, the seeds' mean with its interval."""
    found = model.row["test"]
    return [
        (title, _form(name, model.measured.get(name)), (share if name in SHARES else plain_number)(found[name]))
        for name, title in OVERALL.items()
    ]


def _classes(model: Model) -> list[dict[str, str]]:
    """Each class with its test images and lesions, its sensitivity and specificity."""
    lesions, images, few = (model.comparison[key] for key in ("test_lesions", "test_images", "few_lesions"))
    return [
        {
            "name": f"{name} †" if lesions[name] < few else name,
            "images": page.count(images[name]),
            "lesions": page.count(lesions[name]),
            "sensitivity": share(model.row["test"][f"sensitivity.{name}"]),
            "own": _percent_of(model.measured["sensitivity"].get(name)),
            "specificity": _percent_of(model.measured["specificity"].get(name)),
        }
        for name in model.comparison["plan"]["classes"]
    ]


def _percent_of(value: float | None) -> str:
    return DASH if value is None else f"{percent(value)} %"


def _operating(model: Model) -> list[dict[str, str]]:
    """Each threshold that val chose, and what test shows at it."""
    return [
        {
            "subject": f"{each['subject']} ({each['positives']} lesions)",
            "asked": f"{100 * point['level']:g} % {point['fixed']}",
            "threshold": number(point["thresholds"][model.place]),
            **{name: share(found) for name, found in point["test"].items()},
        }
        for each in model.sheet["operating"]
        for point in each["points"]
    ]


def _calibration(model: Model) -> list[tuple[str, str, str]]:
    """Measure, as trained, at the temperature."""
    found = model.sheet["calibration"]
    before, after = found["before"], found["after"]
    return [
        ("Log loss", plain_number(before["log_loss"]), plain_number(after["log_loss"])),
        ("Brier score", plain_number(before["brier"]), plain_number(after["brier"])),
        (
            "Calibration error, debiased",
            share(before["errors"]["debiased"]),
            share(after["errors"]["debiased"]),
        ),
    ]


def _subgroups(model: Model) -> dict[str, Any] | None:
    """The subgroups that may be shown, and the names of those that hold too few; None where none are known."""
    found = model.sheet["subgroups"]
    if found is None:
        return None
    hidden = [each for each in found["subgroups"] if each["groups"] is None]
    shown = [_subgroup(each) for each in found["subgroups"] if each["groups"] is not None]
    return {
        "least": found["least"],
        "alone": f"{100 * found['alone']:.2f}",
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
        values={name: interval(each) for name, each in found["values"].items()},
        differences={name: interval(each) for name, each in found["differences"].items()},
        by_seed={name: tuple(seeds) for name, seeds in found["by_seed"].items()},
    )


def _shown(each: Subgroup) -> dict[str, str]:
    cells = {name: _cell(each, name) for name in ("balanced_accuracy", "sensitivity", "specificity")}
    below = [name.replace("_", " ") for name in cells if each.worse(name)]
    return {
        "name": f"{each.attribute}: {each.value}",
        "images": page.count(each.images),
        "lesions": page.count(each.groups),
        "below": ", ".join(below) or "no",
        **cells,
    }


def _cell(each: Subgroup, measure: str) -> str:
    """Its value, and how it differs from all others; nothing is said from few."""
    if measure not in each.differences:
        return "too few lesions"
    value, against = vars(each.values[measure]), vars(each.differences[measure])
    return f"{share(value)}; {difference(against)}"
