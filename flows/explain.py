"""Look behind single answers: maps with their check, nearest train lesions, most confident errors; decides nothing.

It opens test images after `evaluate` did, and nothing depends on what it writes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from components.base.log import Log
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.explanations import attribution
from components.explanations.analysis import (
    Case,
    Error,
    Exhibit,
    Explanations,
    Likeness,
    Neighbour,
    Plan,
    Sheet,
    agree,
    as_metrics,
    as_record,
    choose_cases,
    choose_run,
    compare_maps,
    find_errors,
    nearest_lesions,
    share_lost,
    standardise,
)
from components.explanations.attribution import Attribution, attribute, cascade, draw_anew
from components.explanations.page import draw_figures, photograph, render
from components.models.backbone import Backbone
from components.models.classifier import Classifier, predict
from components.models.encoder import embed, to_tensor, weights_sha256
from components.statistics.runs import Images, Run, by_protocol, same_images
from components.training.examples import Examples
from components.training.session import Session
from flows.settings.analysis import Clinical, Compare
from flows.settings.analysis import Explain as ExplainSettings
from flows.settings.study import Compute, Paths, Study
from flows.stage import stage
from flows.stage_io.files import write_text
from flows.stage_io.predictions import load_run, open_reader, read_examples
from flows.stage_io.runs import read_runs

Array = npt.NDArray[Any]

SETTLING = 256
"""Train images on which a network with weights drawn anew measures its means and variances."""


@stage
def explain(
    study: Study,
    dataset: Adapter,
    labels: Labels,
    backbone: Backbone,
    compare: Compare,
    clinical: Clinical,
    explain: ExplainSettings,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> dict[str, dict[str, float]]:
    """Write explanations.html and .json; return what to follow from run to run."""
    session = open_reader(backbone, compute, log)
    plan = _plan(study, dataset, labels, compare, clinical, explain)
    room = Room(plan, backbone, paths, session)
    runs = by_protocol(read_runs(study, paths))
    images = same_images(
        [run for arms in runs.values() for group in arms.values() for run in group], "test", plan.classes
    )
    errors = {f"{arm}-{protocol}": found for protocol, arm, found in _errors(runs, images, plan)}
    cases = choose_cases(images, {name: found for name, (found, _) in errors.items()}, plan)
    groups = [group for arms in runs.values() for group in arms.values()]
    tracked = log.track(groups, len(groups), "explanations")
    sheets = tuple(room.look(group, images, cases, *errors[_name(group[0])]) for group in tracked)
    found = Explanations(plan, len(images.names), len(np.unique(images.groups)), cases, sheets)
    _write(found, room, paths, log)
    return as_metrics(found)


def _plan(
    study: Study, dataset: Adapter, labels: Labels, compare: Compare, clinical: Clinical, explain: ExplainSettings
) -> Plan:
    return Plan(
        study=study.name,
        arms=study.arms,
        classes=labels.classes,
        malignant=clinical.malignant_classes(labels),
        **explain.model_dump(),
        confidence=compare.confidence,
        resamples=compare.resamples,
        synthetic=dataset.kind == "synthetic",
    )


def _name(run: Run) -> str:
    return f"{run.arm}-{run.protocol}"


def _errors(
    runs: Mapping[str, Mapping[str, Sequence[Run]]], images: Images, plan: Plan
) -> Iterator[tuple[str, str, tuple[tuple[Error, ...], int]]]:
    """Of each protocol and arm the errors of the run that stands for it, and how many it makes."""
    for protocol, arms in runs.items():
        chosen = {arm: choose_run(group, plan.classes) for arm, group in arms.items()}
        for arm, group in arms.items():
            others = [run for name, run in chosen.items() if name != arm]
            yield protocol, arm, find_errors(chosen[arm], group, others, images, plan)


class Room:
    """What all models are looked at with: images, session, and features by the weights that made them."""

    def __init__(self, plan: Plan, backbone: Backbone, paths: Paths, session: Session) -> None:
        self.plan, self.backbone, self.paths, self.session = plan, backbone, paths, session
        self.train, self.test = (read_examples(paths.pixels / name, plan.classes) for name in ("train", "test"))
        self.row = {str(name): row for row, name in enumerate(self.test.pixels.index["image_id"])}
        rng = np.random.default_rng([plan.seed, 0x5E7])
        count = len(self.train.labels)
        self.settling = self.images(self.train, rng.choice(count, min(SETTLING, count), replace=False))
        self.near: set[str] = set()  # train images that the page shows

    def images(self, examples: Examples, rows: Array) -> Tensor:
        """(B, 3, S, S) in [0, 1] on the session's device."""
        return to_tensor(examples.pixels.take(rows)).to(self.session.device).float() / 255

    def load(self, run: Run) -> Classifier:
        """The run's classifier on the session's device."""
        path = self.paths.classifiers / f"{run.name}.safetensors"
        return load_run(path, self.backbone, self.plan.classes, self.session)

    def look(
        self, group: Sequence[Run], images: Images, cases: Sequence[Case], errors: Sequence[Error], wrong: int
    ) -> Sheet:
        """One arm under one protocol; `group` are its runs."""
        chosen = choose_run(group, self.plan.classes)
        classifier = self.load(chosen)
        rows = np.array([self.row[case.image] for case in cases])
        said = predict(classifier, [to_tensor(self.test.pixels.take(rows))])  # (B, K)
        pictures = self.images(self.test, rows)  # (B, 3, S, S)
        answers = torch.from_numpy(said.argmax(1)).to(self.session.device)
        found = attribute(classifier, pictures, answers, self.plan.steps)
        drawn = np.flatnonzero([case.drawn for case in cases])
        others = self._others(chosen, group, classifier)
        likeness = tuple(self._compare(other, model, found, pictures, answers, drawn) for other, model in others)
        agreement, encoders, neighbours = self._neighbours(chosen, group, images, rows)
        return Sheet(
            arm=chosen.arm,
            protocol=chosen.protocol,
            run=chosen.name,
            likeness=likeness,
            lost=share_lost(found.missing[drawn], found.change[drawn]),
            agreement=agreement,
            encoders=encoders,
            errors=tuple(errors),
            wrong=wrong,
            exhibits=_exhibits(cases, said, attribution.shown(found.maps), neighbours, self.plan.classes),
        )

    def _others(self, chosen: Run, group: Sequence[Run], classifier: Classifier) -> Iterator[tuple[str, Classifier]]:
        """Another seed's classifier where there is one, then this one with weights drawn anew."""
        for run in [run for run in group if run.name != chosen.name][:1]:
            yield "another seed", self.load(run)
        fresh = draw_anew(self.backbone, classifier.head, self.plan.seed)
        self.session.place(fresh)
        yield from cascade(classifier, fresh, self.settling)

    def _compare(
        self, other: str, model: Classifier, mine: Attribution, pictures: Tensor, answers: Tensor, drawn: Array
    ) -> Likeness:
        """Maps of the drawn images for the same classes, by another model."""
        theirs = attribute(model, pictures[drawn], answers[drawn], self.plan.steps).maps  # (B, S, S)
        maps = mine.maps[drawn]
        rank = attribution.rank_correlations(maps, theirs)
        magnitude = attribution.rank_correlations(np.abs(maps), np.abs(theirs))
        structure = attribution.structural_similarities(maps, theirs)
        return compare_maps(other, rank, magnitude, structure, self.plan.confidence)

    def _neighbours(
        self, chosen: Run, group: Sequence[Run], images: Images, rows: Array
    ) -> tuple[Any, int, list[tuple[Neighbour, ...]]]:
        """Agreement over the runs' different encoders, their number, and the chosen one's neighbours of `rows`."""
        order = np.array([self.row[str(name)] for name in images.names])
        shares: dict[str, Array] = {}
        shown: list[tuple[Neighbour, ...]] = []
        for run in [chosen, *(run for run in group if run is not chosen)]:
            encoder = self.load(run).encoder
            weights = weights_sha256(encoder)
            if weights in shares:  # a frozen encoder is the same in every run
                continue
            raw = [embed(encoder, each.in_order()).numpy() for each in (self.train, self.test)]
            train, test = (standardise(features, raw[0]) for features in raw)  # (M, D), (N, D)
            near, distances = nearest_lesions(
                train, self.train.pixels.index["group"].to_numpy(str), test, self.plan.neighbours
            )
            shares[weights] = (self.train.labels[near] == self.test.labels[:, None]).mean(1)[order]
            shown = shown or [self._named(near[row], distances[row]) for row in rows]
        return agree(images, list(shares.values()), self.plan), len(shares), shown

    def _named(self, near: Array, distances: Array) -> tuple[Neighbour, ...]:
        index = self.train.pixels.index
        names = [str(name) for name in index["image_id"].iloc[near]]
        self.near |= set(names)
        labels = [str(label) for label in index["label"].iloc[near]]
        return tuple(Neighbour(*each) for each in zip(names, labels, map(float, distances), strict=True))

    def photographs(self, cases: Sequence[Case]) -> dict[str, Any]:
        """Small pictures by image_id: of the cases, and of the train images near them."""
        names = self.train.pixels.index["image_id"].to_numpy(str)
        near = np.flatnonzero(np.isin(names, sorted(self.near)))
        found = {str(names[row]): photograph(self.train.pixels.take(np.array([row]))[0]) for row in near}
        for case in cases:
            found[case.image] = photograph(self.test.pixels.take(np.array([self.row[case.image]]))[0])
        return found


def _exhibits(
    cases: Sequence[Case],
    said: Array,
    maps: Array,
    neighbours: Sequence[tuple[Neighbour, ...]],
    classes: Sequence[str],
) -> tuple[Exhibit, ...]:
    answers = [classes[place] for place in said.argmax(1)]
    each = zip(cases, answers, said.max(1), maps, neighbours, strict=True)
    return tuple(Exhibit(case.image, answer, float(p), own, near) for case, answer, p, own, near in each)


def _write(found: Explanations, room: Room, paths: Paths, log: Log) -> None:
    figures = draw_figures(found)
    page = render(found, room.photographs(found.cases), figures)
    record = json.dumps(as_record(found), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    for name, text in (("explanations.html", page), ("explanations.json", record)):
        write_text(paths.reports / name, text)
        log.artifact(paths.reports / name, "report")
    for name, figure in figures.items():
        log.figure(f"{name}.png", figure)
    for sheet in found.sheets:
        log.line(f"{sheet.name}: its maps' verdict is: {sheet.finding(found.plan)}")
    log.line(f"Look at {paths.reports / 'explanations.html'}")


if __name__ == "__main__":
    explain.main()
