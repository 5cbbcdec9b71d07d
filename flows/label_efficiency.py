"""Label efficiency under one protocol: test metrics of every arm by the number of train lesions."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

from components.base.log import Log
from components.base.run_id import FinetuneProtocol, RunId
from components.comparison.settings import Compare as CompareSettings
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.label_efficiency.analysis import assess
from components.label_efficiency.page import draw_figures, render
from components.label_efficiency.record import as_metrics, as_record
from components.label_efficiency.settings import LabelEfficiency as LabelEfficiencySettings
from components.label_efficiency.wording import summary
from components.models.backbone import Backbone
from components.statistics.runs import Run
from components.training.settings import Compute
from flows.settings.study import Paths, Study
from flows.stage import stage
from flows.stage_io.files import read_json
from flows.stage_io.label_efficiency_results import LABEL_EFFICIENCY
from flows.stage_io.predictions import open_inference_session, predict_file, read_packed
from flows.stage_io.publish import publish
from flows.stage_io.question import build_question
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
    """Predict test images with the runs of `finetune_subset`; write PROTOCOL.json and PROTOCOL.html.

    The runs with all lesions are the study's own, predicted by `evaluate`.
    """
    protocol = FinetuneProtocol(protocol)
    subsets = _predict_subsets(
        protocol=protocol,
        study=study,
        labels=labels,
        backbone=backbone,
        label_efficiency=label_efficiency,
        paths=paths,
        compute=compute,
        log=log,
    )
    complete = [
        _read_complete(RunId(arm, protocol, seed), paths) for arm, seed in product(study.arms, label_efficiency.seeds)
    ]
    question = build_question(study, dataset, labels, compare)
    result = assess([*subsets, *complete], question, protocol, label_efficiency)
    figures = draw_figures(result)
    publish(
        paths.reports / LABEL_EFFICIENCY,
        str(protocol),
        record=as_record(result),
        page=render(result, figures),
        figures=figures,
        lines=summary(result),
        log=log,
    )
    return as_metrics(result)


def _predict_subsets(
    protocol: FinetuneProtocol,
    study: Study,
    labels: Labels,
    backbone: Backbone,
    label_efficiency: LabelEfficiencySettings,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> list[Run]:
    """The runs that were trained on a subset of the lesions, with their predictions of the test images."""
    session = open_inference_session(backbone, compute, log)
    examples = {"test": read_packed(paths.pixels / "test", labels.classes)}
    points = product(study.arms, label_efficiency.seeds, label_efficiency.shares)
    names = [RunId(arm, protocol, seed, share) for arm, seed, share in points]
    runs = []
    for name in log.track(names, len(names), "predictions"):
        weights = paths.partial / f"{name}.safetensors"
        table = predict_file(weights, examples, classes=labels.classes, backbone=backbone, session=session)
        runs.append(Run(name, table, summary=read_json(paths.metrics / "finetune_subset" / f"{name}.json")))
    return runs


def _read_complete(name: RunId, paths: Paths) -> Run:
    """A run of the study itself, trained on all lesions."""
    return replace(read_run(name, paths), summary=read_json(paths.metrics / "finetune" / f"{name}.json"))


if __name__ == "__main__":
    label_efficiency.main()
