"""Pool the folds of a cross-validation: every accepted image with a label was tested once."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from components.base.log import Log
from components.comparison.settings import Compare
from components.cross_validation.analysis import pool_folds as pool
from components.cross_validation.folds import Fold
from components.cross_validation.page import draw_figures, render
from components.cross_validation.record import as_metrics, as_record
from components.cross_validation.sentences import summary
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.training.settings import Finetune
from flows.settings.study import Paths, Study
from flows.stage import stage
from flows.stage_io.files import read_json
from flows.stage_io.priors import read_priors
from flows.stage_io.publish import publish
from flows.stage_io.question import build_question
from flows.stage_io.runs import read_complete_runs
from flows.stage_io.split_table import read_split


@stage
def pool_folds(
    folds: int,
    study: Study,
    dataset: Adapter,
    labels: Labels,
    compare: Compare,
    finetune: Finetune,
    paths: Paths,
    log: Log,
) -> dict[str, float]:
    """Write cross_validation.json and .html; return the means over folds and the differences that decide."""
    read = read_json(paths.metrics / "ingest.json")["read"]
    question = build_question(study, dataset, labels, compare, read)
    each = [_read_fold(number, study, labels, finetune, paths) for number in range(folds)]
    result = pool(each, question, _labelled(paths, labels.classes), log)
    lines = summary(result)
    figures = draw_figures(result)
    publish(
        paths.reports,
        "cross_validation",
        record=as_record(result),
        page=render(result, figures),
        figures=figures,
        lines=lines,
        log=log,
    )
    log.tags({"verdict": " ".join(lines)})
    return as_metrics(result)


def _read_fold(number: int, study: Study, labels: Labels, finetune: Finetune, paths: Paths) -> Fold:
    """A fold's runs, priors and number of train lesions, from what the stage `fold` kept."""
    its = paths.below(paths.folds / str(number))
    split = read_split(its.split)
    train = split.loc[split["split"] == "train", "group"].nunique()
    return Fold(number, read_complete_runs(study, its), read_priors(its, labels, finetune), int(train))


def _labelled(paths: Paths, classes: Sequence[str]) -> list[str]:
    """The accepted images with a label."""
    accepted = pd.read_parquet(paths.accepted, columns=["image_id", "label"])
    return list(accepted.loc[accepted["label"].isin(classes), "image_id"])


if __name__ == "__main__":
    pool_folds.main()
