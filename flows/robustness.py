"""Test every classifier of the study on corrupted test images, and on test images with the lesion masked.

Like evaluate it reads the test images after every choice was made. No stage that trains or chooses depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.figure import Figure

from components.base.log import Log
from components.base.run_id import RunId
from components.comparison.settings import Compare
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.data.pixels import read_pixels
from components.data.whole_lesions import sample_images
from components.models.backbone import Backbone
from components.models.classifier import Classifier
from components.robustness.analysis import analyse
from components.robustness.corruptions import Image, corrupt
from components.robustness.measurements import MeasuredImages, RunPredictions, corruption_levels
from components.robustness.occlusion import MaskedPictures, mask_images
from components.robustness.page import draw_corruptions, draw_figures, draw_masked, render
from components.robustness.record import as_metrics, as_record
from components.robustness.sentences import sentences
from components.robustness.settings import Robustness as RobustnessSettings
from components.robustness.shared_features import SharedEncoder, group_by_encoder, predict_all
from components.training.session import Session
from components.training.settings import Compute
from flows.settings.data import Pack
from flows.settings.study import Paths, Study
from flows.stage import stage
from flows.stage_io.predictions import classifier_path, load_run, open_inference_session, study_runs
from flows.stage_io.publish import publish
from flows.stage_io.question import build_question

EXAMPLE_IMAGES = 6
"""Test images on the page that are shown masked."""


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
    """Write robustness.json and robustness.html; return the metrics that are compared from run to run."""
    session = open_inference_session(backbone, compute, log)
    pixels = read_pixels(paths.pixels / "test")
    classes, groups = pixels.labels(labels.classes), pixels.index["group"].to_numpy(str)
    rows = sample_images(classes, groups, robustness.images, robustness.seed, setting="robustness.images (params.yaml)")
    images, ids = pixels.take(rows), list(pixels.index["image_id"].astype(str).iloc[rows])
    masked = mask_images(images, robustness.border)
    runs = study_runs(study)
    encoders = group_by_encoder(_load_classifiers(runs, labels.classes, backbone, paths, session))
    predictions = _predict(runs, encoders, images=images, ids=ids, masked=masked, settings=robustness, log=log)
    result = analyse(
        MeasuredImages(classes[rows], groups[rows], masked.lesion_found, masked.touches_border),
        predictions,
        build_question(study, dataset, labels, compare),
        robustness,
        image_size=pack.image_size,
        test_images=len(pixels),
    )
    figures = draw_figures(result) | _draw_examples(images, ids, masked, robustness)
    publish(
        paths.reports,
        "robustness",
        record=as_record(result),
        page=render(result, figures),
        figures=figures,
        lines=sentences(result),
        log=log,
    )
    return as_metrics(result)


def _load_classifiers(
    runs: Sequence[RunId], classes: Sequence[str], backbone: Backbone, paths: Paths, session: Session
) -> Iterator[tuple[str, Classifier]]:
    for run in runs:
        yield str(run), load_run(classifier_path(run, paths), backbone, classes, session)


def _predict(
    runs: Sequence[RunId],
    encoders: Sequence[SharedEncoder],
    *,
    images: Image,
    ids: Sequence[str],
    masked: MaskedPictures,
    settings: RobustnessSettings,
    log: Log,
) -> list[RunPredictions]:
    """Every run's predictions for every version of the images; one corruption level is in memory at a time."""
    log.line(f"{len(images)} test images; {len(runs)} runs share {len(encoders)} encoders")
    clean = predict_all(encoders, images)
    by_picture = {name: predict_all(encoders, pictures) for name, pictures in masked.pictures.items()}
    levels = corruption_levels(settings)
    by_level = {
        level: predict_all(encoders, corrupt(level.corruption, images, level.strength, seed=settings.seed, ids=ids))
        for level in log.track(levels, len(levels), "corruptions and strengths")
    }
    return [
        RunPredictions(
            run,
            clean=clean[str(run)],
            corrupted={level: each[str(run)] for level, each in by_level.items()},
            masked={name: each[str(run)] for name, each in by_picture.items()},
        )
        for run in runs
    ]


def _draw_examples(
    images: Image, ids: Sequence[str], masked: MaskedPictures, settings: RobustnessSettings
) -> dict[str, Figure]:
    """Some images before and after: the first of a random order, so that no one selects them."""
    order = np.random.default_rng([settings.seed, 2]).permutation(len(images))[:EXAMPLE_IMAGES]
    first, own_id = images[order[:1]], [ids[order[0]]]
    corrupted = {
        name: [corrupt(name, first, strength, seed=settings.seed, ids=own_id)[0] for strength in settings.strengths]
        for name in settings.corruptions
    }
    pictures = {name: list(each[order]) for name, each in masked.pictures.items()}
    return {
        "corruption-examples": draw_corruptions(first[0], corrupted, settings.strengths),
        "masked-examples": draw_masked(list(images[order]), pictures),
    }


if __name__ == "__main__":
    robustness.main()
