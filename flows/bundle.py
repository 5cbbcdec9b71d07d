"""Write the model for use: one folder that holds all that an answer needs.

The run is the one that `compare` recommends, or the one that the settings name. Nothing is trained, and nothing is
chosen on test images here.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from components.base.errors import DataError
from components.base.files import file_sha256
from components.base.log import Log
from components.base.run_id import RunId
from components.clinical.assessment import clinical_task
from components.clinical.conformal import one_a_group
from components.clinical.settings import Clinical
from components.comparison.overfitting_gap import DECIDING_GAP
from components.comparison.protocol import images_sha256
from components.comparison.settings import Compare, Evaluate
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.pixels import Pixels, read_pixels
from components.deployment.bundle import write_bundle
from components.deployment.chosen_on_val import choose_on_val
from components.deployment.manifest import VERSION, Manifest, Provenance
from components.deployment.outliers import OutlierReference
from components.deployment.settings import Bundle as BundleSettings
from components.deployment.trained_on import as_text, hash_ids
from components.models.backbone import Backbone
from components.models.classifier import Classifier
from components.models.encoder import embed, read_batches
from components.models.weights_file import read_header
from components.statistics.runs import FINGERPRINTS, Run, split_rows
from components.training.settings import Compute, Finetune
from flows.settings.data import Pack
from flows.settings.study import Paths, Study
from flows.stage import stage
from flows.stage_io.files import read_json
from flows.stage_io.predictions import classifier_path, load_run, open_inference_session, study_runs
from flows.stage_io.priors import read_priors
from flows.stage_io.question import build_question
from flows.stage_io.runs import read_run
from flows.stage_io.version import read_version


@stage
def bundle(
    study: Study,
    dataset: Adapter,
    labels: Labels,
    pack: Pack,
    backbone: Backbone,
    finetune: Finetune,
    evaluate: Evaluate,
    compare: Compare,
    clinical: Clinical,
    bundle: BundleSettings,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> dict[str, Any]:
    """Write the bundle; return what its thresholds reach on val and test."""
    comparison = read_json(paths.reports / "comparison.json")
    chosen = comparison["recommendation"]["run"]
    run_id = _find_run(bundle.run or chosen, study)
    run = read_run(run_id, paths)
    question = build_question(study, dataset, labels, compare, read_json(paths.metrics / "ingest.json")["read"])
    task = clinical_task(question, clinical, labels, read_priors(paths, labels, finetune), evaluate.calibration_bins)
    on_val = choose_on_val(run, task)
    path = classifier_path(run_id, paths)
    header, measured = read_header(path), read_json(paths.metrics / "evaluate.json")[run.name]
    provenance = _provenance(run, study, dataset, paths, question.classes)

    def manifest(files: Any) -> Manifest:
        return Manifest(
            version=VERSION,
            run=run.name,
            arm=run.arm,
            protocol=run.protocol,
            seed=run_id.seed,
            recommended=run.name == chosen and comparison["recommendation"]["recommended"],
            recommendation=comparison["recommendation"]["sentence"],
            protocol_followed=comparison["protocol"]["sentence"],
            synthetic=question.synthetic,
            classes=question.classes,
            malignant=task.malignant or (),
            image_size=pack.image_size,
            fit=pack.fit,
            backbone=header["backbone"],
            frequencies=on_val.frequencies,
            temperature=on_val.temperature,
            points=on_val.points,
            point=_place(bundle, on_val.points),
            conformal=on_val.conformal,
            abstention=on_val.abstention,
            unlike=bundle.unlike,
            test=measured,
            gap=_gap(run, paths),
            provenance=provenance,
            files=files,
        )

    session = open_inference_session(backbone, compute, log)
    classifier = load_run(path, backbone, question.classes, session)
    train, val = (read_pixels(paths.pixels / split) for split in ("train", "val"))
    chosen_val = one_a_group(val.index["group"].to_numpy(str), np.random.default_rng(question.seed))
    outliers = OutlierReference.fit(
        _standardised(classifier, train), _standardised(classifier, val.rows(chosen_val)), bundle.components
    )
    needed = int(np.ceil(1 / bundle.unlike - 1e-9)) - 1
    if len(chosen_val) < needed:
        log.line(
            f"no image can count as unlike the train images: val has {len(chosen_val)} lesions, bundle.unlike = "
            f"{bundle.unlike:g} needs {needed} (params.yaml)"
        )
    trained_on = as_text(hash_ids(pd.concat([train.index, val.index])))
    card = paths.reports / "model_card.md" if run.name == chosen else None
    written = write_bundle(paths.bundle, manifest, classifier=path, outliers=outliers, trained_on=trained_on, card=card)
    log.artifact(paths.bundle)
    log.tags({"bundle": written.sha256, "bundle/run": run.name})
    log.line(f"{paths.bundle}: {run.name}, bundle {written.sha256[:12]}; `dermflow predict FOLDER` uses it")
    if not written.manifest.recommended:
        log.line(f"{run.name} is not recommended for use: {written.manifest.recommendation}")
    return _metrics(written.manifest)


def _find_run(name: str, study: Study) -> RunId:
    """The run of this name.

    Raises:
        DataError: where the study has none.
    """
    runs = {str(run): run for run in study_runs(study)}
    if name not in runs:
        raise DataError(f"bundle.run is {name!r}, expected a run of the study, one of {list(runs)} (params.yaml)")
    return runs[name]


def _place(settings: BundleSettings, points: Any) -> int | None:
    """Place of the operating point that decides; None where val gave no threshold for it."""
    wanted = (settings.point.fixed, settings.point.level)
    return next((place for place, each in enumerate(points) if (each.fixed, each.level) == wanted), None)


def _standardised(classifier: Classifier, pixels: Pixels) -> np.ndarray[Any, Any]:
    """Features of all images as the head standardises them, (N, D)."""
    features = embed(classifier.encoder, read_batches(pixels.take, np.arange(len(pixels))))
    standardised = classifier.head.standardisation(features.to(classifier.encoder.mean.device))
    found: np.ndarray[Any, Any] = standardised.cpu().numpy()
    return found


def _provenance(run: Run, study: Study, dataset: Adapter, paths: Paths, classes: tuple[str, ...]) -> Provenance:
    packed, pretrained = (read_json(paths.metrics / name) for name in ("pack.json", f"pretrain/{run.id.encoder}.json"))
    summary = read_json(paths.metrics / "finetune" / f"{run.name}.json")
    return Provenance(
        dermflow=read_version(),
        study=study.name,
        dataset=dataset.kind,
        images={name: packed[name]["images"] for name in ("train", "val", "test")},
        split_sha256=file_sha256(paths.split),
        test_sha256=images_sha256(split_rows(run, "test", classes)),
        fingerprints={name: str(summary[name]) for name in ("encoder_sha256", *FINGERPRINTS)},
        data_licence=asdict(dataset.licence),
        weights_licence=pretrained["licence"],
    )


def _gap(run: Run, paths: Paths) -> float | None:
    """The gap that decides, at the best epoch; None where the curve has none, as without a trained epoch."""
    found = read_json(paths.metrics / "finetune" / f"{run.name}.json").get("best", {}).get(DECIDING_GAP)
    return None if found is None else float(found)


def _metrics(manifest: Manifest) -> dict[str, Any]:
    """Rates at the operating point that decides, and the numbers that val chose."""
    found: dict[str, Any] = {"temperature": manifest.temperature, "recommended": manifest.recommended}
    if manifest.point is None:
        return found
    point = manifest.points[manifest.point]
    test = {name: rate.mean for name, rate in point.test.items() if rate.mean is not None}
    val = {name: rate for name, rate in point.val.items() if rate is not None}
    return {**found, "threshold": point.threshold, "val": val, "test": test}


if __name__ == "__main__":
    bundle.main()
