"""The record of the model for use: every number of the first page, in full."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from components.base.json_data import plain
from components.chosen_model.analysis import ChosenModel
from components.chosen_model.fitness import Fitness, of_patients
from components.chosen_model.page import PREVALENCE, needless
from components.data.vocabulary import diagnosis_name
from components.deployment.manifest import Manifest

Json = Mapping[str, Any]


def as_record(
    manifest: Manifest,
    chosen: ChosenModel | None,
    fitness: Fitness,
    comparison: Json,
    *,
    bundle_sha256: str,
    robustness: Json,
    explanations: Json,
    external: Sequence[Json],
) -> dict[str, Any]:
    """All that the first page says, as data for JSON.

    Args:
        manifest: of the bundle.
        chosen: None where the model has no operating point.
        fitness: of the model.
        comparison: reports/comparison.json.
        bundle_sha256: version of the bundle.
        robustness: reports/robustness.json.
        explanations: reports/explanations.json.
        external: records of the external test sets.
    """
    plan = comparison["plan"]
    found: dict[str, Any] = plain(
        {
            "run": manifest.run,
            "study": plan["study"],
            "version": bundle_sha256,
            "synthetic": manifest.synthetic,
            "confidence": plan["rule"]["confidence"],
            "unit": plan["unit"],
            "missing_ids": plan["missing_ids"],
            "protocol": manifest.protocol_followed,
            "recommendation": manifest.recommendation,
            "image_size": manifest.image_size,
            "classes": [diagnosis_name(name) for name in manifest.classes],
            "malignant_classes": [diagnosis_name(name) for name in manifest.malignant],
            "point": None if manifest.point is None else manifest.points[manifest.point].model_dump(mode="json"),
            "answers": None if chosen is None else asdict(chosen),
            "fitness": asdict(fitness),
            "needless": None if chosen is None else _needless(chosen),
            "poor_pictures": _poor_pictures(robustness, manifest),
            "maps": _maps(explanations, manifest),
            "external": [each["plan"]["cohort"] for each in of_patients(external)],
        }
    )
    return found


def _needless(chosen: ChosenModel) -> dict[str, Any]:
    """At the prevalence that the page begins with; of melanomas, or of malignant lesions where no melanoma is there."""
    ill = chosen.melanoma or chosen.malignant
    found, flagged = ill.malignant.mean, chosen.benign.malignant.mean
    number = needless(found, flagged, PREVALENCE / 100)
    return {"found": found, "flagged": flagged, "prevalence": PREVALENCE, "number": number}


def _poor_pictures(robustness: Json, manifest: Manifest) -> dict[str, Any] | None:
    """The worst of the corruptions for the model's arm, mean of its seeds; None where the arm was not measured."""
    sheets = [
        each for each in robustness["sheets"] if (each["arm"], each["protocol"]) == (manifest.arm, manifest.protocol)
    ]
    kinds = [each for sheet in sheets for each in sheet["kinds"]]
    if not kinds:
        return None
    worst = max(kinds, key=lambda each: each["drop"]["mean"] or 0)
    return {
        "kinds": len(kinds),
        "kind": worst["name"].replace("_", " "),
        "drop": worst["drop"],
        "clean": sheets[0]["clean"],
    }


def _maps(explanations: Json, manifest: Manifest) -> str | None:
    """What the check of the maps says; None where the arm was not checked."""
    found = explanations["models"].get(f"{manifest.arm}-{manifest.protocol}")
    return None if found is None else str(found["maps"])
