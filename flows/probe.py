"""Probe the encoders of all arms: what each stage knows of the classes, on train and val images.

Test images are not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from components.base.log import Log
from components.base.run_id import encoder_name
from components.comparison.settings import Compare
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.pixels import Pixels, read_pixels
from components.data.whole_lesions import sample_images
from components.models.backbone import Backbone
from components.models.encoder import Encoder, read_batches, weights_sha256
from components.models.weights_file import load_encoder
from components.probes.against_reference import compare_probes
from components.probes.alarms import group_alarms
from components.probes.analysis import EncoderProbes, LabelledFeatures, pooled_maps, probe_encoder, summarise
from components.probes.page import draw_figures, render, sentences
from components.probes.record import as_metrics, as_record
from components.training.settings import Compute
from flows.settings.study import Paths, Study
from flows.settings.training import Pretrain
from flows.stage import stage
from flows.stage_io.files import read_json
from flows.stage_io.predictions import open_inference_session
from flows.stage_io.publish import publish
from flows.stage_io.question import build_question

TRAIN_IMAGES = 4000
"""Train images at most, in whole lesions with rare classes kept: bounds time and memory of the regressions."""


@stage
def probe(
    study: Study,
    dataset: Adapter,
    labels: Labels,
    compare: Compare,
    backbone: Backbone,
    pretrain: Pretrain,
    paths: Paths,
    compute: Compute,
    log: Log,
) -> dict[str, float]:
    """Write pretraining.json and pretraining.html; return the metrics that are compared from run to run."""
    session = open_inference_session(backbone, compute, log)
    train, val = (read_pixels(paths.pixels / split) for split in ("train", "val"))
    groups = train.index["group"].to_numpy(str)
    limit = "TRAIN_IMAGES (flows/probe.py)"
    train = train.rows(sample_images(train.labels(labels.classes), groups, TRAIN_IMAGES, 0, setting=limit))
    probes: list[EncoderProbes] = []
    by_weights: dict[str, EncoderProbes] = {}  # published weights are the same for every seed
    for arm, seed, encoder in _load(study, backbone, paths):
        key = weights_sha256(encoder)
        if key not in by_weights:
            session.place(encoder)
            both = [_features(encoder, pixels, labels) for pixels in (train, val)]
            by_weights[key] = probe_encoder(arm, seed, *both)
        probes.append(replace(by_weights[key], arm=arm, seed=seed))
    metrics = _read_metrics(study, paths)
    floors = [arm for arm in study.arms if pretrain.arms[arm].baseline]
    question = build_question(study, dataset, labels, compare)
    arms = summarise(
        probes,
        floors=floors,
        found={arm: group_alarms(_alarms(own, study.seeds)) for arm, own in metrics.items()},
        confidence=compare.confidence,
    )
    differences = compare_probes(probes, val.labels(labels.classes), val.index["group"].to_numpy(str), question)
    figures = draw_figures(arms, question)
    publish(
        paths.reports,
        "pretraining",
        record=as_record(arms, differences, train_images=len(train), val_images=len(val)),
        page=render(
            arms,
            question,
            figures,
            differences,
            pretraining={arm: own[0] for arm, own in metrics.items()},
            images=(len(train), len(val)),
            floors=floors,
        ),
        figures=figures,
        lines=sentences(arms, question),
        log=log,
    )
    return as_metrics(arms)


def _load(study: Study, backbone: Backbone, paths: Paths) -> Iterator[tuple[str, int, Encoder]]:
    for arm, seed in product(study.arms, study.seeds):
        yield arm, seed, load_encoder(paths.encoders / f"{encoder_name(arm, seed)}.safetensors", backbone)


def _features(encoder: Encoder, pixels: Pixels, labels: Labels) -> LabelledFeatures:
    classes = pixels.labels(labels.classes)
    return pooled_maps(encoder, read_batches(pixels.take, np.arange(len(pixels))), classes)


def _read_metrics(study: Study, paths: Paths) -> Mapping[str, list[dict[str, Any]]]:
    """By arm, the metrics of its pretraining with each seed."""
    return {
        arm: [read_json(paths.metrics / "pretrain" / f"{encoder_name(arm, seed)}.json") for seed in study.seeds]
        for arm in study.arms
    }


def _alarms(metrics: Sequence[Mapping[str, Any]], seeds: Sequence[int]) -> dict[int, list[str]]:
    """By seed, the alarms of its pretraining; `metrics` are in the order of the seeds."""
    return {seed: list(own.get("alarms", ())) for seed, own in zip(seeds, metrics, strict=True)}


if __name__ == "__main__":
    probe.main()
