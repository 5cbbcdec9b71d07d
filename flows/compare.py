"""Answer the study's question: tables, intervals, verdicts, a recommendation, and the page that shows them."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from components.base.errors import DataError
from components.base.files import write_text
from components.base.log import Log
from components.clinical.assessment import ClinicalPlan, assess
from components.clinical.assessment import as_metrics as clinical_metrics
from components.clinical.assessment import as_record as clinical_record
from components.clinical.figures import draw_figures as draw_clinical
from components.clinical.subgroups import describe
from components.comparison.comparison import (
    FEW_LESIONS,
    Comparison,
    Plan,
    as_metrics,
    as_record,
    as_table,
    compare_runs,
)
from components.comparison.page import draw_figures, limits, render, summary
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.statistics.rule import Rule
from components.statistics.runs import Run, same_images
from flows.settings.analysis import Clinical as ClinicalSettings
from flows.settings.analysis import Compare as CompareSettings
from flows.settings.analysis import Evaluate
from flows.settings.study import Paths, Study
from flows.stage import stage
from flows.stage_io.files import existing, read_json
from flows.stage_io.runs import EVERY_RUN, read_run


@stage
def compare(
    study: Study,
    dataset: Adapter,
    labels: Labels,
    evaluate: Evaluate,
    compare: CompareSettings,
    clinical: ClinicalSettings,
    paths: Paths,
    log: Log,
) -> dict[str, float]:
    """Write comparison.json and .csv, clinical.json, index.html, answer.txt; return what to follow from run to run."""
    measured = read_json(paths.metrics / "evaluate.json")
    order = product(study.protocols, study.arms, study.seeds)
    runs = [_read_run(arm, protocol, seed, paths, measured) for protocol, arm, seed in order]
    comparison = compare_runs(runs, _plan(study, dataset, labels, evaluate, compare), log)
    found = assess(
        runs, _clinical_plan(study, labels, evaluate, compare, clinical), _describe(runs, labels, clinical, paths), log
    )
    figures = {**draw_figures(comparison, runs), **draw_clinical(found)}
    write_text(paths.reports / "comparison.json", _as_json(as_record(comparison) | _in_words(comparison)))
    write_text(paths.reports / "clinical.json", _as_json(clinical_record(found)))
    write_text(paths.reports / "comparison.csv", as_table(comparison).to_csv(index=False, lineterminator="\n"))
    write_text(paths.reports / "index.html", render(comparison, found, figures))
    write_text(paths.reports / "answer.txt", "\n".join(summary(comparison)) + "\n")
    _tell(comparison, paths.reports, log)
    for name, figure in figures.items():
        log.figure(f"{name}.png", figure)
    return {**as_metrics(comparison), **clinical_metrics(found)}


def _in_words(comparison: Comparison) -> dict[str, Any]:
    """What the page says beside the numbers, for whoever says it again."""
    return {"few_lesions": FEW_LESIONS, "limits": limits(comparison)}


def _as_json(record: Any) -> str:
    return json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _clinical_plan(
    study: Study, labels: Labels, evaluate: Evaluate, compare: CompareSettings, clinical: ClinicalSettings
) -> ClinicalPlan:
    severity = clinical.severity_of_classes(labels)
    return ClinicalPlan(
        arms=study.arms,
        reference=study.reference,
        classes=labels.classes,
        malignant=clinical.malignant_classes(labels),
        severity=severity,
        costs=clinical.costs if severity else None,
        levels=clinical.levels,
        thresholds=clinical.thresholds,
        answered=clinical.answered,
        miss=clinical.miss,
        bins=evaluate.calibration_bins,
        ages=clinical.ages,
        least_groups=clinical.least_groups,
        confidence=compare.confidence,
        resamples=compare.resamples,
        seed=compare.seed,
    )


def _describe(runs: list[Run], labels: Labels, clinical: ClinicalSettings, paths: Paths) -> pd.DataFrame:
    """What is known of the test images besides their classes, in the order of the predictions."""
    names = same_images(runs, "test", labels.classes).names
    table = existing(paths.predictions / "lesion_share.csv", "beside the predictions; dvc repro evaluate makes it")
    shares = pd.read_csv(table, dtype={"image_id": "str"})
    facts = pd.read_parquet(paths.facts).merge(shares, on="image_id", how="left")
    return describe(list(names), pd.read_parquet(paths.accepted), facts, clinical.ages)


def _plan(study: Study, dataset: Adapter, labels: Labels, evaluate: Evaluate, compare: CompareSettings) -> Plan:
    return Plan(
        study=study.name,
        arms=study.arms,
        protocols=study.protocols,
        seeds=study.seeds,
        reference=study.reference,
        classes=labels.classes,
        rule=Rule(compare.confidence, compare.margin, compare.min_seeds),
        resamples=compare.resamples,
        calibration_bins=evaluate.calibration_bins,
        seed=compare.seed,
        synthetic=dataset.kind == "synthetic",
        power=compare.power,
        onset=compare.onset,
    )


def _read_run(arm: str, protocol: str, seed: int, paths: Paths, measured: dict[str, Any]) -> Run:
    run = read_run(arm, protocol, seed, paths)
    if run.name not in measured:
        raise DataError(
            f"{paths.metrics / 'evaluate.json'} lacks {run.name}, has {sorted(measured)}; dvc repro evaluate"
        )
    summary = read_json(paths.metrics / "finetune" / f"{run.name}.json")
    curve = existing(paths.curves / "finetune" / f"{run.name}.csv", f"{EVERY_RUN}; dvc repro finetune makes it")
    return replace(run, curve=pd.read_csv(curve), summary=summary, measured=measured[run.name])


def _tell(comparison: Comparison, reports: Path, log: Log) -> None:
    for line in [*summary(comparison), f"Look at {reports / 'index.html'}"]:
        log.line(line)
    log.tags({"verdict": " ".join(each.verdict.sentence for each in comparison.differences)})
    for name in ("index.html", "comparison.json", "comparison.csv", "answer.txt"):
        log.artifact(reports / name, "report")


if __name__ == "__main__":
    compare.main()
