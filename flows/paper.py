"""Go through the paper's seven claims: each with our number, its interval and one word."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pandas as pd

from components.base.log import Log
from components.base.run_id import FinetuneProtocol, RunId
from components.label_efficiency.settings import LabelEfficiency
from components.paper.answers import answer, as_metrics
from components.paper.evidence import Json, PaperRecords
from components.paper.page import render, sentences
from components.paper.record import as_record
from components.statistics.runs import Run
from flows.settings.data import Cohort
from flows.settings.study import Paths
from flows.settings.training import Pretrain
from flows.stage import stage
from flows.stage_io.external_results import read_external
from flows.stage_io.files import existing, read_json
from flows.stage_io.label_efficiency_results import read_label_efficiency
from flows.stage_io.publish import publish

EXPECTED = "a run that was compared; dvc repro finetune makes it"


@stage
def paper(
    pretrain: Pretrain, external: Sequence[Cohort], label_efficiency: LabelEfficiency, paths: Paths, log: Log
) -> dict[str, int]:
    """Write paper.json and paper.html from the records of other stages; return how many claims have which word."""
    comparison = read_json(paths.reports / "comparison.json")
    found = answer(
        PaperRecords(
            comparison=comparison,
            robustness=read_json(paths.reports / "robustness.json"),
            external=read_external(external, paths),
            label_efficiency=read_label_efficiency(label_efficiency.protocols, paths),
            probes=read_json(paths.reports / "pretraining.json"),
            runs=_read_runs(comparison["plan"], paths),
            kinds={arm: method.kind for arm, method in pretrain.arms.items()},
            published=[arm for arm, method in pretrain.arms.items() if method.licence is not None],
        )
    )
    lines = sentences(found, comparison["plan"]["synthetic"])
    publish(
        paths.reports,
        "paper",
        record=as_record(found),
        page=render(found, comparison["plan"]),
        figures={},
        lines=lines,
        log=log,
    )
    log.tags({"paper": " ".join(lines)})
    return as_metrics(found)


def _read_runs(plan: Json, paths: Paths) -> list[Run]:
    """Every run that was compared, with its curve and its images by epoch."""
    runs = [
        RunId(arm, FinetuneProtocol(protocol), seed)
        for protocol, arm, seed in product(plan["protocols"], plan["arms"], plan["seeds"])
    ]
    return [
        Run(
            run,
            pd.DataFrame(),
            curve=pd.read_csv(existing(paths.curves / "finetune" / f"{run}.csv", EXPECTED)),
            images=pd.read_parquet(existing(paths.epoch_losses / f"{run}.parquet", EXPECTED)),
        )
        for run in runs
    ]


if __name__ == "__main__":
    paper.main()
