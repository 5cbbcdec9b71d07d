"""Measure every classifier of the study on damaged test images, and on test images whose lesion is hidden.

It reads the test images as evaluate does: behind every choice. Nothing that learns or chooses depends on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from matplotlib.figure import Figure

from components.base.log import Log
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.pixels import read_pixels
from components.models.backbone import Backbone
from components.models.classifier import Classifier
from components.robustness.analysis import Answers, Measured, RobustnessPlan, as_metrics, as_record, assemble, choose
from components.robustness.corruptions import Image, corrupt, corruptions
from components.robustness.occlusion import Hidden, hide
from components.robustness.page import draw_damage, draw_figures, draw_hidden, render, sentences
from components.robustness.shared_features import Family, answer, gather
from components.training.session import Session
from flows.settings.analysis import Compare
from flows.settings.analysis import Robustness as RobustnessSettings
from flows.settings.data import Pack
from flows.settings.study import Compute, Paths, Study
from flows.stage import stage
from flows.stage_io.files import write_text
from flows.stage_io.predictions import load_run, open_reader

SHOWN = 6
"""Test images on the page with this or that hidden."""


@stage
def robustness(
    study: Study,
    dataset: Adapter,
    labels: Labels,
    pack: Pack,
    backbone: Backbone,
    compare: Compare,
    robustness: RobustnessSettings,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> dict[str, float]:
    """Write robustness.json and .html; return what to follow from run to run."""
    session = open_reader(backbone, compute, log)
    plan = _plan(study, dataset, labels, pack, compare, robustness)
    pixels = read_pixels(paths.pixels / "test")
    classes, groups = pixels.labels(labels.classes), pixels.index["group"].to_numpy(str)
    rows = choose(classes, groups, robustness.images, robustness.seed)
    images, ids = pixels.take(rows), list(pixels.index["image_id"].astype(str).iloc[rows])
    hidden = hide(images, robustness.border)
    families = gather(_load(plan, study.seeds, backbone, paths, session))
    answers = _ask(families, images, hidden, plan, study.seeds, ids, robustness.seed, log)
    measured = Measured(classes[rows], groups[rows], hidden.found, hidden.reaching)
    found = assemble(measured, answers, plan, len(pixels))
    figures = draw_figures(found) | _examples(images, hidden, ids, plan, robustness.seed)
    write_text(paths.reports / "robustness.json", json.dumps(as_record(found), indent=2, allow_nan=False) + "\n")
    write_text(paths.reports / "robustness.html", render(found, figures))
    for line in [*sentences(found), f"Look at {paths.reports / 'robustness.html'}"]:
        log.line(line)
    for name, figure in figures.items():
        log.figure(f"{name}.png", figure)
    for name in ("robustness.html", "robustness.json"):
        log.artifact(paths.reports / name, "report")
    return as_metrics(found)


def _plan(
    study: Study, dataset: Adapter, labels: Labels, pack: Pack, compare: Compare, robustness: RobustnessSettings
) -> RobustnessPlan:
    return RobustnessPlan(
        study=study.name,
        arms=study.arms,
        protocols=study.protocols,
        reference=study.reference,
        classes=labels.classes,
        kinds=tuple(corruptions()),
        strengths=robustness.strengths,
        size=pack.image_size,
        border=robustness.border,
        min_seeds=compare.min_seeds,
        confidence=compare.confidence,
        resamples=compare.resamples,
        seed=compare.seed,
        synthetic=dataset.kind == "synthetic",
    )


def _runs(plan: RobustnessPlan, seeds: Sequence[int]) -> Iterator[tuple[str, str, int]]:
    return product(plan.arms, plan.protocols, seeds)


def _load(
    plan: RobustnessPlan, seeds: Sequence[int], backbone: Backbone, paths: Paths, session: Session
) -> Iterator[tuple[str, Classifier]]:
    """Each run's classifier on the device."""
    for arm, protocol, seed in _runs(plan, seeds):
        run = f"{arm}-{protocol}-{seed}"
        yield run, load_run(paths.classifiers / f"{run}.safetensors", backbone, plan.classes, session)


def _ask(
    families: Sequence[Family],
    images: Image,
    hidden: Hidden,
    plan: RobustnessPlan,
    seeds: Sequence[int],
    ids: Sequence[str],
    seed: int,
    log: Log,
) -> list[Answers]:
    """Every run's answers to every picture; one kind and strength of pictures is in memory at a time."""
    heads = sum(len(family.heads) for family in families)
    log.line(f"{len(images)} test images; {heads} runs share {len(families)} encoders, each picture passes each once")
    clean = answer(families, images)
    without = {name: answer(families, pictures) for name, pictures in hidden.pictures.items()}
    damaged = {
        damage: answer(families, corrupt(damage.kind, images, damage.strength, seed, ids))
        for damage in log.track(plan.damages, len(plan.damages), "kinds and strengths of damage")
    }
    return [
        Answers(
            arm,
            protocol,
            number,
            clean[run],
            {damage: said[run] for damage, said in damaged.items()},
            {name: said[run] for name, said in without.items()},
        )
        for arm, protocol, number in _runs(plan, seeds)
        for run in [f"{arm}-{protocol}-{number}"]
    ]


def _examples(images: Image, hidden: Hidden, ids: Sequence[str], plan: RobustnessPlan, seed: int) -> dict[str, Figure]:
    """What was done to some images, the first of a shuffled order: chosen by nobody."""
    order = np.random.default_rng([seed, 2]).permutation(len(images))[:SHOWN]
    one = order[:1]
    damaged = {
        kind: [corrupt(kind, images[one], strength, seed, [ids[one[0]]])[0] for strength in plan.strengths]
        for kind in plan.kinds
    }
    rows = {name: list(pictures[order]) for name, pictures in hidden.pictures.items()}
    return {
        "damage-examples": draw_damage(images[one[0]], damaged, plan.strengths),
        "hidden-examples": draw_hidden(list(images[order]), rows),
    }


if __name__ == "__main__":
    robustness.main()
