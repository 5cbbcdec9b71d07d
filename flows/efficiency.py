"""Label efficiency under one protocol: every arm's accuracy by the number of lesions that it learned from."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from components.backbones import Backbone
from components.classifier import Examples
from components.datasets import Adapter
from components.efficiency import EfficiencyPlan, as_metrics, as_record, assess
from components.efficiency_page import draw_figures, render, summary
from components.errors import DataError
from components.files import whole
from components.log import Log
from components.pixels import read_pixels
from components.runs import Run
from components.session import open_session
from flows.evaluate import predict_file
from flows.settings import Compare as CompareSettings
from flows.settings import Compute, Labels, Paths, Study
from flows.settings import Efficiency as EfficiencySettings
from flows.stage import stage


@stage
def efficiency(
    protocol: Literal["frozen", "full", "lpft"],
    study: Study,
    dataset: Adapter,
    labels: Labels,
    backbone: Backbone,
    compare: CompareSettings,
    efficiency: EfficiencySettings,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> dict[str, float]:
    """Predict test images by what learned from parts, and write PROTOCOL.json and .html; `evaluate` did the rest."""
    partial = _predict_partial(protocol, study, labels, backbone, efficiency, paths, compute, log)
    complete = [_read_run(arm, protocol, seed, paths) for arm, seed in product(study.arms, efficiency.seeds)]
    found = assess([*partial, *complete], _plan(protocol, study, dataset, labels, compare, efficiency))
    figures, folder = draw_figures(found), paths.reports / "efficiency"
    _write(folder / f"{protocol}.json", json.dumps(as_record(found), indent=2, allow_nan=False) + "\n")
    _write(folder / f"{protocol}.html", render(found, figures))
    for line in [*summary(found), f"Look at {folder / f'{protocol}.html'}"]:
        log.line(line)
    for name, figure in figures.items():
        log.figure(f"{name}.png", figure)
    for kind in ("html", "json"):
        log.artifact(folder / f"{protocol}.{kind}", "report")
    return as_metrics(found)


def _predict_partial(
    protocol: str,
    study: Study,
    labels: Labels,
    backbone: Backbone,
    efficiency: EfficiencySettings,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> list[Run]:
    """The runs that learned from a part, each asked about the test images."""
    session = open_session(
        compute.device, compute.threads, "32-true", cpu=backbone.cpu, seed=0, checkpoint=None, log=log
    )
    pixels = read_pixels(paths.pixels / "test")
    test, runs = Examples(pixels, pixels.labels(labels.classes)), []
    points = list(product(study.arms, efficiency.seeds, efficiency.shares))
    for arm, seed, share in log.track(points, len(points), "predictions"):
        name = f"{arm}-{protocol}-{seed}-{share}"
        path, metrics = paths.partial / f"{name}.safetensors", paths.metrics / "learn" / f"{name}.json"
        table = predict_file(path, test, "test", backbone, labels.classes, session)
        runs.append(Run(arm, protocol, seed, pd.DataFrame(), _read_json(metrics), table, {}, share))
    return runs


def _read_run(arm: str, protocol: str, seed: int, paths: Paths) -> Run:
    """A run of the study itself, which learned from all."""
    name = f"{arm}-{protocol}-{seed}"
    path = paths.predictions / f"{name}.parquet"
    if not path.is_file():
        raise DataError(
            f"{path} is missing, expected for every seed of efficiency.seeds (params.yaml); dvc repro evaluate"
        )
    summary = _read_json(paths.metrics / "finetune" / f"{name}.json")
    return Run(arm, protocol, seed, pd.DataFrame(), summary, pd.read_parquet(path), {})


def _plan(
    protocol: str,
    study: Study,
    dataset: Adapter,
    labels: Labels,
    compare: CompareSettings,
    efficiency: EfficiencySettings,
) -> EfficiencyPlan:
    return EfficiencyPlan(
        study=study.name,
        protocol=protocol,
        arms=study.arms,
        reference=study.reference,
        classes=labels.classes,
        shares=(*efficiency.shares, 1.0),
        seeds=efficiency.seeds,
        budget=efficiency.budget,
        confidence=compare.confidence,
        min_seeds=compare.min_seeds,
        resamples=compare.resamples,
        seed=compare.seed,
        synthetic=dataset.kind == "synthetic",
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read ({error}), expected JSON of a finished training; dvc repro efficiency makes it"
        ) from error
    return content


def _write(path: Path, text: str) -> None:
    with whole(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    efficiency.main()
