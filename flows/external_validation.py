"""Predict an external test set, untouched, with every classifier of the study, and show what is lost there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from components.base.files import whole, write_text
from components.base.log import Log
from components.clinical.settings import Clinical
from components.comparison.settings import Compare, Evaluate
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.pixels import write_pixels
from components.data.records import read_records
from components.data.splits import group_rows
from components.external_validation.analysis import as_metrics, as_record, assess
from components.external_validation.label_map import LabelMap, check_labels
from components.external_validation.page import draw_figures, render
from components.external_validation.results import EXTERNAL, Transfer, TransferPlan
from components.models.backbone import Backbone
from components.statistics.rule import Rule
from components.statistics.runs import Run, same_images
from components.training.settings import Compute
from components.validation.quarantine import OUTSIDE_MAP
from flows.settings.data import Cohort, Pack, Privacy, Split, choose
from flows.settings.study import Paths, Study
from flows.stage import stage
from flows.stage_io.files import existing
from flows.stage_io.images import load_images
from flows.stage_io.predictions import predict_runs, read_examples
from flows.stage_io.runs import read_runs

OTHER_WORDS = "other words (see the quarantine file)"
"""Stands for diagnoses of private data that params.yaml does not name."""


@stage
def external_validation(
    cohort: str,
    external: Sequence[Cohort],
    study: Study,
    dataset: Adapter,
    privacy: Privacy,
    labels: Labels,
    split: Split,
    pack: Pack,
    backbone: Backbone,
    evaluate: Evaluate,
    compare: Compare,
    clinical: Clinical,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> dict[str, Any]:
    """Write its predictions, COHORT.json and COHORT.html; return each arm's numbers here, there, and apart."""
    chosen = choose(cohort, external)
    theirs = chosen.dataset
    internal = {run.name: run for run in read_runs(study, paths)}
    table = _read_cohort(cohort, split, paths)
    here = same_images(list(internal.values()), "test", labels.classes)
    found = check_labels(cohort, table, _outside(chosen, privacy, paths), here, labels.classes)
    _tell_labels(cohort, found, log)
    rows = table[table["label"].notna()].sort_values("image_id", kind="stable", ignore_index=True)
    with TemporaryDirectory(prefix=f".{cohort}-", dir=paths.external) as packed:
        folder = Path(packed) / "pixels"
        images = log.track(load_images(theirs.path, rows, pack, compute.threads), len(rows), f"{cohort} images packed")
        write_pixels(folder, images, rows, pack.image_size)
        examples = {EXTERNAL: read_examples(folder, labels.classes)}
        predictions = dict(predict_runs(study, examples, labels.classes, backbone, paths, compute, log))
    _write_predictions(paths.external_predictions / cohort, predictions)
    runs = [_joined(run, predictions[name]) for name, run in internal.items()]
    synthetic = "synthetic" in (dataset.kind, theirs.kind)
    plan = _plan(cohort, study, labels, evaluate, compare, clinical, synthetic)
    answer = assess(runs, found, plan, log)
    _write_answer(answer, paths.reports / "external", log)
    return as_metrics(answer)


def _joined(run: Run, external: pd.DataFrame) -> Run:
    predictions = pd.concat([run.predictions, external], ignore_index=True)
    return replace(run, predictions=predictions)


def _read_cohort(cohort: str, split: Split, paths: Paths) -> pd.DataFrame:
    """Its accepted rows, and the group of each by the study's own rule."""
    accepted = read_records(paths.external / f"{cohort}.parquet")
    return accepted.assign(group=group_rows(accepted, split.group_by))


def _outside(cohort: Cohort, privacy: Privacy, paths: Paths) -> dict[str, int]:
    """Diagnosis of no class -> images that `admit` left out for it.

    A word of private data can name a person: only those that params.yaml names itself go onto the page.
    """
    path = existing(
        paths.external / f"{cohort.name}.quarantine.csv", f"beside {cohort.name}.parquet; dvc repro admit makes it"
    )
    reasons = pd.read_csv(path, dtype="str", keep_default_na=False)
    words = reasons.loc[reasons["rule"] == OUTSIDE_MAP, "value"]
    if privacy.key == "secret":
        words = words.where(words.isin(list(cohort.left_out)), OTHER_WORDS)
    return {str(word): int(count) for word, count in words.value_counts().sort_index().items()}


def _tell_labels(cohort: str, found: LabelMap, log: Log) -> None:
    for word, count in found.outside.items():
        log.line(f"{cohort}: {count} images of {word!r} are in no class and are left out")
    if found.lacking or found.few:
        log.line(
            f"{cohort}: measured over {', '.join(found.compared)}; without images {list(found.lacking)}, with too few "
            f"lesions here or there {list(found.few)}"
        )


def _plan(
    cohort: str,
    study: Study,
    labels: Labels,
    evaluate: Evaluate,
    compare: Compare,
    clinical: Clinical,
    synthetic: bool,
) -> TransferPlan:
    return TransferPlan(
        cohort=cohort,
        arms=study.arms,
        reference=study.reference,
        classes=labels.classes,
        malignant=clinical.malignant_classes(labels),
        levels=clinical.levels,
        bins=evaluate.calibration_bins,
        rule=Rule(compare.confidence, compare.margin, compare.min_seeds),
        resamples=compare.resamples,
        seed=compare.seed,
        synthetic=synthetic,
    )


def _write_predictions(folder: Path, predictions: Mapping[str, pd.DataFrame]) -> None:
    with whole(folder) as unfinished:
        unfinished.mkdir()
        for name, table in predictions.items():
            table.to_parquet(unfinished / f"{name}.parquet", index=False)


def _write_answer(answer: Transfer, folder: Path, log: Log) -> None:
    name, figures = answer.plan.cohort, draw_figures(answer)
    record = json.dumps(as_record(answer), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    for path, text in ((folder / f"{name}.json", record), (folder / f"{name}.html", render(answer, figures))):
        write_text(path, text)
        log.artifact(path, "external")
    for title, figure in figures.items():
        log.figure(f"{title}.png", figure)
    for claim in answer.claims:
        log.line(claim.text)
    log.line(f"Look at {folder / f'{name}.html'}")
    log.tags({"verdict": " ".join(claim.text for claim in answer.claims)})


if __name__ == "__main__":
    external_validation.main()
