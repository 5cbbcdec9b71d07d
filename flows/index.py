"""Write the first page, the model for use for a clinician, and the second, the study of methods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from components.base.files import write_text
from components.base.log import Log
from components.chosen_model.analysis import ChosenModel, assess_chosen
from components.chosen_model.fitness import Fitness, judge
from components.chosen_model.page import render
from components.chosen_model.record import as_record
from components.clinical.accept import NOT_JUDGED
from components.clinical.settings import Clinical
from components.deployment.bundle import open_bundle
from components.deployment.manifest import Manifest
from components.external_validation.summary import render_section
from components.report.places import EXTERNAL, fill
from flows.settings.data import Cohort
from flows.settings.study import Paths
from flows.stage import stage
from flows.stage_io.external_results import FOLDER, INTERNAL, read_external
from flows.stage_io.files import existing, read_json
from flows.stage_io.pages import DIGITS, write_page
from flows.stage_io.publish import as_json
from flows.stage_io.version import read_version

RECORD = "chosen_model.json"


@stage
def index(external: Sequence[Cohort], clinical: Clinical, paths: Paths, log: Log) -> dict[str, Any]:
    """Write index.html, study.html and chosen_model.json; return what is found of 100 melanomas and the fitness."""
    comparison = read_json(paths.reports / "comparison.json")
    records = read_external(external, paths)
    _write_study(records, comparison, paths, log)
    opened = open_bundle(paths.bundle)
    manifest = opened.manifest
    chosen = _assess(manifest, comparison, clinical, paths)
    record = as_record(
        manifest,
        chosen,
        _judge(manifest, chosen, comparison, clinical, records),
        comparison,
        bundle_sha256=opened.sha256,
        robustness=read_json(paths.reports / "robustness.json"),
        explanations=read_json(paths.reports / "explanations.json"),
        external=records,
    )
    write_text(paths.reports / RECORD, as_json(record))
    log.artifact(paths.reports / RECORD, "report")
    path = paths.reports / "index.html"
    model = f"{manifest.run}, bundle {opened.sha256[:DIGITS]}"
    write_page(path, render(record), log, model=model, version=read_version())
    log.line(f"Look at {path}")
    return _metrics(record)


def _write_study(records: Sequence[dict[str, Any]], comparison: dict[str, Any], paths: Paths, log: Log) -> None:
    """The page of the comparison with a table of the external test sets."""
    page = existing(paths.reports / "comparison.html", "the page of the comparison; dvc repro compare makes it")
    section = render_section(records, read_json(paths.reports / FOLDER / INTERNAL))
    text = fill(page.read_text(), EXTERNAL, section, str(page))
    write_page(
        paths.reports / "study.html", text, log, model=comparison["recommendation"]["run"], version=read_version()
    )


def _assess(manifest: Manifest, comparison: dict[str, Any], clinical: Clinical, paths: Paths) -> ChosenModel | None:
    """None where the model has no operating point."""
    if manifest.point is None:
        return None
    plan = comparison["plan"]
    table = pd.read_parquet(existing(_predictions(manifest, paths), "predictions; dvc repro evaluate makes them"))
    return assess_chosen(
        table[table["split"] == "test"],
        pd.read_parquet(paths.accepted),
        manifest,
        ages=clinical.ages,
        least=clinical.least_groups,
        resamples=plan["resamples"],
        confidence=plan["rule"]["confidence"],
        seed=plan["seed"],
    )


def _predictions(manifest: Manifest, paths: Paths) -> Path:
    return paths.predictions / f"{manifest.run}.parquet"


def _judge(
    manifest: Manifest,
    chosen: ChosenModel | None,
    comparison: dict[str, Any],
    clinical: Clinical,
    records: Sequence[dict[str, Any]],
) -> Fitness:
    if chosen is None or manifest.point is None:
        return Fitness(False, False, f"{NOT_JUDGED} The model has no operating point.", ())
    return judge(
        clinical.accept,
        chosen,
        manifest.points[manifest.point],
        confirmatory=comparison["protocol"]["confirmatory"],
        synthetic=manifest.synthetic,
        external=records,
        run=manifest.run,
    )


def _metrics(record: dict[str, Any]) -> dict[str, Any]:
    """What to follow from run to run; what is not known is left out."""
    found = {"external_test_sets": len(record["external"]), "fit_for_use": record["fitness"]["fit"]}
    answers = record["answers"] or {}
    kinds = {name: answers.get(name) for name in ("melanoma", "malignant", "benign")}
    return found | {
        f"{name}/{part}": kind[part]["mean"]
        for name, kind in kinds.items()
        if kind is not None
        for part in ("malignant", "benign", "unanswered")
    }


if __name__ == "__main__":
    index.main()
