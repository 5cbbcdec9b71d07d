"""Answer the study's question: tables, intervals, verdicts, a recommendation, and the page that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from components.base.files import write_text
from components.base.log import Log
from components.clinical import record as clinical_record
from components.clinical.accept import about_fitness
from components.clinical.assessment import assess, clinical_task
from components.clinical.attributes import describe
from components.clinical.figures import draw_figures as draw_clinical
from components.clinical.settings import Clinical
from components.comparison import record
from components.comparison.comparison import compare_runs
from components.comparison.figures import draw_figures
from components.comparison.page import render
from components.comparison.protocol import images_sha256
from components.comparison.recommendation import FEW_LESIONS
from components.comparison.sentences import limits, summary
from components.comparison.settings import Compare, Evaluate
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.models.backbone import Backbone
from components.statistics.runs import Run, same_images, split_rows
from components.training.settings import Augment, Finetune
from flows.settings.data import Cohort, Split
from flows.settings.study import Paths, Study
from flows.settings.training import Pretrain
from flows.stage import stage
from flows.stage_io.external_results import FOLDER, INTERNAL
from flows.stage_io.files import existing, read_json
from flows.stage_io.label_efficiency_results import ALL_LESIONS, LABEL_EFFICIENCY
from flows.stage_io.priors import read_priors
from flows.stage_io.protocol import models_sha256, read_standing
from flows.stage_io.publish import as_json, publish
from flows.stage_io.question import build_question
from flows.stage_io.runs import read_complete_runs


@stage
def compare(
    study: Study,
    dataset: Adapter,
    labels: Labels,
    evaluate: Evaluate,
    compare: Compare,
    clinical: Clinical,
    split: Split,
    augment: Augment,
    backbone: Backbone,
    pretrain: Pretrain,
    finetune: Finetune,
    external: Sequence[Cohort],
    paths: Paths,
    log: Log,
) -> dict[str, float]:
    """Write comparison.json, .csv and .html, clinical.json, answer.txt; return the metrics of every arm."""
    read = read_json(paths.metrics / "ingest.json")["read"]
    question = build_question(study, dataset, labels, compare, read)
    runs = read_complete_runs(study, paths)
    priors = read_priors(paths, labels, finetune)
    comparison = compare_runs(runs, question, compare, priors, log)
    task = clinical_task(question, clinical, labels, priors, evaluate.calibration_bins)
    assessment = assess(runs, task, _attributes(runs, labels, clinical, paths), log)
    page_figures, clinical_figures = draw_figures(compare.figures, comparison, runs), draw_clinical(assessment)
    followed = read_standing(
        {
            "study": study,
            "labels": labels,
            "split": split,
            "augment": augment,
            "backbone": backbone,
            "pretrain": pretrain,
            "finetune": finetune,
            "compare": compare,
            "clinical": clinical,
            "external": external,
        },
        images_sha256(split_rows(runs[0], "test", labels.classes)),
        models_sha256({run.name: run.predictions for run in runs}),
    )
    fitness = about_fitness(clinical.accept, confirmatory=followed.confirmatory, synthetic=question.synthetic)
    lines = summary(comparison, followed, fitness)
    for name, text in {
        "clinical.json": as_json(clinical_record.as_record(assessment)),
        "comparison.csv": record.as_table(comparison).to_csv(index=False, lineterminator="\n"),
        "answer.txt": "\n".join(lines) + "\n",
        f"{FOLDER}/{INTERNAL}": as_json(record.internal_test(comparison)),
        f"{LABEL_EFFICIENCY}/{ALL_LESIONS}": as_json(record.all_lesions(comparison)),
    }.items():
        write_text(paths.reports / name, text)
        log.artifact(paths.reports / name, "report")
    publish(
        paths.reports,
        "comparison",
        record=record.as_record(comparison, evaluate)
        | {"few_lesions": FEW_LESIONS, "fitness": fitness, "limits": limits(comparison), "protocol": asdict(followed)},
        page=render(comparison, followed, fitness, evaluate, page_figures, assessment, clinical_figures),
        figures={each.file_name(name): panel for each in page_figures for name, panel in each.panels.items()}
        | clinical_figures,
        lines=lines,
        log=log,
        model=comparison.recommendation.run,
    )
    log.tags(
        {"protocol": followed.sentence, "verdict": " ".join(each.verdict.sentence for each in comparison.differences)}
    )
    return {**record.as_metrics(comparison), **clinical_record.as_metrics(assessment)}


def _attributes(runs: Sequence[Run], labels: Labels, clinical: Clinical, paths: Paths) -> pd.DataFrame:
    """What is known of the test images besides their classes, in the order of the predictions."""
    names = same_images(runs, "test", labels.classes).names
    table = existing(paths.predictions / "lesion_share.csv", "next to the predictions; dvc repro evaluate makes it")
    shares = pd.read_csv(table, dtype={"image_id": "str"}, keep_default_na=False, na_values=[""])
    facts = pd.read_parquet(paths.facts).merge(shares, on="image_id", how="left")
    return describe(list(names), pd.read_parquet(paths.accepted), facts, clinical.ages)


if __name__ == "__main__":
    compare.main()
