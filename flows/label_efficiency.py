"""Label efficiency under one protocol: every arm's accuracy by the number of lesions that it learned from."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

from components.base.files import write_text
from components.base.log import Log
from components.base.run_id import FinetuneProtocol, RunId
from components.comparison.settings import Compare as CompareSettings
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.label_efficiency.analysis import EfficiencyPlan, as_metrics, as_record, assess
from components.label_efficiency.page import draw_figures, render, summary
from components.models.backbone import Backbone
from components.statistics.runs import Run
from components.training.settings import Compute
from flows.settings.analysis import LabelEfficiency as LabelEfficiencySettings
from flows.settings.study import Paths, Study
from flows.stage import stage
from flows.stage_io.files import read_json
from flows.stage_io.predictions import open_reader, predict_file, read_examples
from flows.stage_io.runs import read_run


@stage
def label_efficiency(
    protocol: FinetuneProtocol,
    study: Study,
    dataset: Adapter,
    labels: Labels,
    backbone: Backbone,
    compare: CompareSettings,
    label_efficiency: LabelEfficiencySettings,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> dict[str, float]:
    """Predict test images by what learned from parts, and write PROTOCOL.json and .html; `evaluate` did the rest."""
    partial = _predict_partial(protocol, study, labels, backbone, label_efficiency, paths, compute, log)
    complete = [
        _read_run(RunId(arm, protocol, seed), paths) for arm, seed in product(study.arms, label_efficiency.seeds)
    ]
    found = assess([*partial, *complete], _plan(protocol, study, dataset, labels, compare, label_efficiency))
    figures, folder = draw_figures(found), paths.reports / "label_efficiency"
    write_text(folder / f"{protocol}.json", json.dumps(as_record(found), indent=2, allow_nan=False) + "\n")
    write_text(folder / f"{protocol}.html", render(found, figures))
    for line in [*summary(found), f"Look at {folder / f'{protocol}.html'}"]:
        log.line(line)
    for name, figure in figures.items():
        log.figure(f"{name}.png", figure)
    for kind in ("html", "json"):
        log.artifact(folder / f"{protocol}.{kind}", "report")
    return as_metrics(found)


def _predict_partial(
    protocol: FinetuneProtocol,
    study: Study,
    labels: Labels,
    backbone: Backbone,
    label_efficiency: LabelEfficiencySettings,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> list[Run]:
    """The runs that learned from a part, each asked about the test images."""
    session = open_reader(backbone, compute, log)
    examples, runs = {"test": read_examples(paths.pixels / "test", labels.classes)}, []
    points = list(product(study.arms, label_efficiency.seeds, label_efficiency.shares))
    for arm, seed, share in log.track(points, len(points), "predictions"):
        run = RunId(arm, protocol, seed, share)
        path, metrics = paths.partial / f"{run}.safetensors", paths.metrics / "finetune_subset" / f"{run}.json"
        table = predict_file(path, examples, backbone, labels.classes, session)
        runs.append(Run(run, table, summary=read_json(metrics)))
    return runs


def _read_run(run: RunId, paths: Paths) -> Run:
    """A run of the study itself, which learned from all."""
    return replace(read_run(run, paths), summary=read_json(paths.metrics / "finetune" / f"{run}.json"))


def _plan(
    protocol: FinetuneProtocol,
    study: Study,
    dataset: Adapter,
    labels: Labels,
    compare: CompareSettings,
    label_efficiency: LabelEfficiencySettings,
) -> EfficiencyPlan:
    return EfficiencyPlan(
        study=study.name,
        protocol=protocol,
        arms=study.arms,
        reference=study.reference,
        classes=labels.classes,
        shares=(*label_efficiency.shares, 1.0),
        seeds=label_efficiency.seeds,
        budget=label_efficiency.budget,
        confidence=compare.confidence,
        min_seeds=compare.min_seeds,
        resamples=compare.resamples,
        seed=compare.seed,
        synthetic=dataset.kind == "synthetic",
    )


if __name__ == "__main__":
    label_efficiency.main()
