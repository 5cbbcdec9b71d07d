"""External validation: predict an external test set with every classifier of the study and report the changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from components.base.files import whole
from components.base.log import Log
from components.clinical.settings import Clinical
from components.comparison.settings import Compare, Evaluate
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.pixels import write_pixels
from components.data.records import read_records
from components.data.splits import group_rows
from components.external_validation.analysis import assess
from components.external_validation.label_map import LabelMap, check_labels
from components.external_validation.page import draw_figures, render
from components.external_validation.record import as_metrics, as_record
from components.external_validation.results import EXTERNAL, ExternalSetup
from components.models.backbone import Backbone
from components.report.wording import join_claims
from components.statistics.runs import Run, same_images
from components.training.settings import Compute, Finetune
from components.validation.quarantine import OUTSIDE_MAP
from flows.settings.data import Cohort, Pack, Privacy, Split, find_cohort
from flows.settings.study import Paths, Study
from flows.stage import stage
from flows.stage_io.files import existing, read_json
from flows.stage_io.images import load_images
from flows.stage_io.predictions import predict_runs, read_packed
from flows.stage_io.priors import read_priors
from flows.stage_io.publish import publish
from flows.stage_io.question import build_question, describe_ids
from flows.stage_io.runs import read_runs

OTHER_WORDS = "other words (see the quarantine file)"
"""Replaces diagnoses of private data that params.yaml does not contain."""


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
    finetune: Finetune,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> dict[str, Any]:
    """Write predictions, COHORT.json and COHORT.html; return internal and external values and their differences."""
    chosen = find_cohort(cohort, external)
    runs = read_runs(study, paths)
    table = _read_cohort(cohort, split, paths)
    internal = same_images(runs, "test", labels.classes)
    label_map = check_labels(cohort, table, _count_outside(chosen, privacy, paths), internal, labels.classes)
    _log_labels(cohort, label_map, log)
    rows = table[table["label"].notna()].sort_values("image_id", kind="stable", ignore_index=True)
    with TemporaryDirectory(prefix=f".{cohort}-", dir=paths.external) as packed:
        folder = Path(packed) / "pixels"
        images = load_images(chosen.dataset.path, rows, pack, compute.threads)
        write_pixels(folder, log.track(images, len(rows), f"{cohort} images packed"), rows, pack.image_size)
        examples = {EXTERNAL: read_packed(folder, labels.classes)}
        predicted = predict_runs(
            study, examples, classes=labels.classes, backbone=backbone, paths=paths, compute=compute, log=log
        )
        predictions = dict(predicted)
    _write_predictions(paths.external_predictions / cohort, predictions)
    internal_read = read_json(paths.metrics / "ingest.json")["read"]
    external_read = read_json(paths.metrics / "ingest_external" / f"{cohort}.json")["read"]
    question = build_question(study, dataset, labels, compare, internal_read)
    result = assess(
        [_join(run, predictions[run.name]) for run in runs],
        label_map,
        replace(question, synthetic=question.synthetic or chosen.dataset.kind == "synthetic"),
        ExternalSetup(
            cohort,
            clinical.malignant_classes(labels),
            clinical.levels,
            evaluate.calibration_bins,
            read_priors(paths, labels, finetune),
            clinical.answered,
            **describe_ids(external_read),
        ),
        log,
    )
    figures = draw_figures(result)
    publish(
        paths.reports / "external",
        cohort,
        record=as_record(result) | {"data": asdict(chosen.dataset.licence)},
        page=render(result, figures),
        figures=figures,
        lines=[claim.text for claim in result.claims],
        log=log,
        artifacts="external",
    )
    log.tags({"verdict": join_claims(result.claims)})
    return as_metrics(result)


def _join(run: Run, external: pd.DataFrame) -> Run:
    """The run with predictions of the internal and the external images."""
    return replace(run, predictions=pd.concat([run.predictions, external], ignore_index=True))


def _read_cohort(cohort: str, split: Split, paths: Paths) -> pd.DataFrame:
    """The accepted rows, with groups by the study's own rule."""
    accepted = read_records(paths.external / f"{cohort}.parquet")
    return accepted.assign(group=group_rows(accepted, split.group_by))


def _count_outside(cohort: Cohort, privacy: Privacy, paths: Paths) -> dict[str, int]:
    """Diagnosis of no class -> images that `admit` left out for it.

    A word in private data can be a person's name: only words that params.yaml contains are shown on the page.
    """
    path = existing(
        paths.external / f"{cohort.name}.quarantine.csv", f"next to {cohort.name}.parquet; dvc repro admit makes it"
    )
    reasons = pd.read_csv(path, dtype="str", keep_default_na=False)
    words = reasons.loc[reasons["rule"] == OUTSIDE_MAP, "value"]
    if privacy.key == "secret":
        words = words.where(words.isin(list(cohort.excluded)), OTHER_WORDS)
    return {str(word): int(count) for word, count in words.value_counts().sort_index().items()}


def _log_labels(cohort: str, found: LabelMap, log: Log) -> None:
    for word, count in found.outside.items():
        log.line(f"{cohort}: {count} images of {word!r} are in no class and are left out")
    if found.lacking or found.few:
        log.line(
            f"{cohort}: measured over {', '.join(found.compared)}; without images {list(found.lacking)}, with too few "
            f"lesions in one of both test sets {list(found.few)}"
        )


def _write_predictions(folder: Path, predictions: Mapping[str, pd.DataFrame]) -> None:
    with whole(folder) as unfinished:
        unfinished.mkdir()
        for name, table in predictions.items():
            table.to_parquet(unfinished / f"{name}.parquet", index=False)


if __name__ == "__main__":
    external_validation.main()
