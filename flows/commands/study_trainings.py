"""The trainings of the active experiment, made ready to be profiled, tested or shown, as the stages make them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from components.base.errors import RunError, SettingsError
from components.base.log import Log
from components.base.run_id import FinetuneProtocol
from components.data.pixels import Pixels, read_pixels
from components.models.backbone import Architecture
from components.models.classifier import Classifier, build_head
from components.models.encoder import Encoder, embed, to_tensor
from components.pretraining import choose_architecture
from components.training.batches import EpochBatches
from components.training.conditions import Phase, build_conditions
from components.training.examples import read_examples
from components.training.feature_cache import FeatureCache
from components.training.finetune_batches import FinetuneBatches
from components.training.learner import build_learner
from components.training.session import Session, open_session
from flows.settings import Settings

if TYPE_CHECKING:
    import pytorch_lightning as pl


STANDARDISED = 1024
"""Train images, at most, from which the head's standardisation is fitted here."""


@dataclass(frozen=True)
class StudyTraining:
    """A module with its batches by epoch, on a session."""

    name: str
    module: pl.LightningModule
    batches: Callable[[int], Iterable[Any]]
    session: Session
    frozen: Mapping[str, nn.Module] = field(default_factory=dict)
    """Networks that a step uses without training them, by name."""


def study_trainings(settings: Settings, log: Log) -> Iterator[StudyTraining]:
    """Fine-tuning under each protocol of the study, and each arm whose pretraining trains something.

    Encoders have random weights: these take the same time as others.
    """
    for protocol in dict.fromkeys(choose_protocol(settings, name) for name in settings.study.protocols):
        yield finetuning(settings, _draw_encoder(settings, settings.backbone), protocol, log)
    train, session = packed_images(settings, "train"), _open_session(settings, settings.study.seeds[0], log)
    for arm in settings.study.arms:
        method = settings.pretrain.arms[arm]
        task = method.learner(_draw_encoder(settings, choose_architecture(method, settings.backbone)), train, session)
        if task is not None:
            yield StudyTraining(f"pretrain-{arm}", task.module, task.batches, session)


def finetuning(settings: Settings, encoder: Encoder, protocol: FinetuneProtocol, log: Log) -> StudyTraining:
    """Fine-tuning of `encoder` on the train images with the first seed; `protocol` is frozen or full."""
    batches, seed = finetune_batches(settings, protocol), settings.study.seeds[0]
    conditions, head = batches.conditions, settings.finetune.head
    encoder.read(conditions.finetune.features)
    drawn = build_head(encoder.feature_sizes, head.hidden, head.dropout, len(conditions.classes), seed=seed)
    classifier = Classifier(encoder, drawn)
    (phase,) = conditions.phases
    learner = build_learner(classifier, phase, conditions, batches.train.labels, batches.steps)
    session = _open_session(settings, seed, log)
    session.place(classifier)
    some = np.arange(min(STANDARDISED, len(batches.train.labels)))
    drawn.standardisation.fit(embed(encoder, [to_tensor(batches.train.pixels.take(some))]))
    frozen = {} if phase.trains == "all" else {"encoder": encoder}
    by_epoch = _batches_of_phase(batches, phase, FeatureCache(encoder, session))
    return StudyTraining(f"finetune-{protocol}", learner, by_epoch, session, frozen)


def _batches_of_phase(batches: FinetuneBatches, phase: Phase, features: FeatureCache) -> Callable[[int], EpochBatches]:
    if phase.trains == "all":
        return batches.mixed
    return batches.images if batches.conditions.finetune.views is None else partial(batches.features, features)


def finetune_batches(settings: Settings, protocol: FinetuneProtocol) -> FinetuneBatches:
    """The train images as fine-tuning draws them with the study's first seed."""
    classes = settings.labels.classes
    conditions = build_conditions(protocol, classes=classes, augment=settings.augment, finetune=settings.finetune)
    return FinetuneBatches(
        read_examples(packed_images(settings, "train"), classes, "train"), conditions, settings.study.seeds[0]
    )


def choose_protocol(settings: Settings, name: str) -> FinetuneProtocol:
    """Frozen or full by name; lpft gives full, its longer phase, and an empty name the study's first protocol.

    Raises:
        SettingsError: for another name.
    """
    name = name or settings.study.protocols[0]
    if name not in list(FinetuneProtocol):
        raise SettingsError(f"protocol {name!r}: expected frozen or full")
    return FinetuneProtocol.FROZEN if name == FinetuneProtocol.FROZEN else FinetuneProtocol.FULL


def packed_images(settings: Settings, split: str) -> Pixels:
    """The packed images of a split; RunError where there are none."""
    folder = settings.paths.pixels / split
    if not (folder / "images.npy").is_file():
        raise RunError(f"{folder}: no images are packed there; `dvc repro pack` makes them")
    return read_pixels(folder)


def _draw_encoder(settings: Settings, architecture: Architecture) -> Encoder:
    torch.manual_seed(settings.study.seeds[0])
    return architecture.build()


def _open_session(settings: Settings, seed: int, log: Log) -> Session:
    """As the stages open it, but in one process and without a resume state."""
    compute = settings.compute.model_copy(update={"devices": 1, "num_nodes": 1, "strategy": "auto"})
    return open_session(compute, cpu=settings.backbone.cpu, seed=seed, checkpoint=None, log=log)
