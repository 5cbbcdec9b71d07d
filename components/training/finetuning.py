"""Fine-tuning under the same conditions for all arms: with one seed, two arms differ in the encoder only.

Everything else that could differ is set or drawn from the seed, and hashed so that it can be compared: every setting,
the train and val images with their labels, the initial weights of the head, the batches, the augmentation with its
views and mixing, the number format. A frozen encoder gives the same features of an image each time, so they are
computed once.

N images, D features, K classes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, cast

import pandas as pd
from torch import Tensor, nn

from components.base.log import Log
from components.models.classifier import Classifier, Head, build_head
from components.models.encoder import Encoder, embed, weights_sha256
from components.models.layer_groups import freeze, set_drop_path
from components.training.batches import EpochBatches
from components.training.conditions import Conditions, Phase, describe_settings, lines_sha256
from components.training.epoch_metrics import Measured, describe_gap, measure
from components.training.examples import Examples, match_classes
from components.training.feature_cache import FeatureCache
from components.training.finetune_batches import FinetuneBatches
from components.training.history import EpochRow
from components.training.image_history import ImageHistory
from components.training.learner import Learner, build_learner
from components.training.loop import Fit, fit
from components.training.session import Session


@dataclass(frozen=True)
class Finetuned:
    """The result of a fine-tuning."""

    fit: Fit
    """All phases as one curve."""
    weights: dict[str, Tensor]
    """State dict of the classifier at the best epoch, on the CPU."""
    fingerprints: dict[str, str]
    """SHA-256 hashes of everything that must be equal for all arms."""
    described: dict[str, list[str]]
    """What is behind two of the fingerprints, as lines `key = value`: settings, computation."""
    encoder_sha256: str
    """Of the weights that the fine-tuning started from, which differ by design."""
    images: pd.DataFrame | None
    """`ImageHistory.table` of all phases; None in a process that does not lead, as it measures nothing."""


def finetune_encoder(
    encoder: Encoder,
    *,
    train: Examples,
    val: Examples,
    conditions: Conditions,
    session: Session,
    log: Log,
    settings: Mapping[str, object],
    what: str,
) -> Finetuned:
    """Train a classifier on `encoder`, which is changed in place where a phase trains it.

    Args:
        encoder: with the weights of an arm.
        train: the images to learn from.
        val: the images that choose the best epoch.
        conditions: the same for all arms.
        session: the hardware, the seed and the folder of the resume state.
        log: receives each epoch's row, and hashes as tags.
        settings: must equal those of a resume state for the training to continue from it.
        what: name of the run in errors and progress lines.

    Raises:
        CheckpointError: where a resume state of other settings, data or code is found.
        TrainingError: where a loss is not finite.
    """
    if conditions.trains_encoder:
        set_drop_path(encoder.trunk, conditions.finetune.drop_path)
        freeze(encoder.trunk, conditions.finetune.freeze)  # repeated when the phase starts; here it fails early
    encoder.read(conditions.finetune.features)
    classifier = Classifier(encoder, _draw_head(encoder, conditions, session.seed))
    batches = FinetuneBatches(train, conditions, session.seed)
    described = {
        "settings": conditions.describe(),
        "computation": describe_settings(session.describe_computation()),
    }
    resumed = {
        "train_index_sha256": train.sha256(),
        "val_index_sha256": val.sha256(),
        "settings_sha256": lines_sha256(described["settings"]),
        "head_init_sha256": weights_sha256(classifier.head),
        "batches_sha256": batches.batches_sha256(),
        "augmentation_sha256": batches.augmentation_sha256(),
    }
    fingerprints = {**resumed, "computation_sha256": lines_sha256(described["computation"])}
    encoder_sha256 = weights_sha256(encoder)
    log.tags({"encoder/sha256": encoder_sha256, **fingerprints})
    session.place(classifier)
    known = {**settings, "encoder_sha256": encoder_sha256, **resumed}  # resuming on other hardware is allowed
    phases = _Phases(
        classifier=classifier, batches=batches, val=val, session=session, log=log, settings=known, what=what
    )
    result, weights = phases.run()
    classifier.load_state_dict(weights)
    log.tags({"weights/sha256": weights_sha256(classifier)})
    images = phases.images.table(phases.matched, val, conditions.classes) if session.leads else None
    return Finetuned(result, weights, fingerprints, described, encoder_sha256, images)


def _draw_head(encoder: Encoder, conditions: Conditions, seed: int) -> Head:
    head = conditions.finetune.head
    return build_head(encoder.feature_sizes, head.hidden, head.dropout, len(conditions.classes), seed)


@dataclass(frozen=True, kw_only=True)
class _Phases:
    """The phases of a fine-tuning, one after the other."""

    classifier: Classifier
    batches: FinetuneBatches
    val: Examples
    session: Session
    log: Log
    settings: Mapping[str, object]
    what: str
    images: ImageHistory = field(default_factory=ImageHistory)
    """Of all phases; complete after `run`."""

    @cached_property
    def matched(self) -> Examples:
        """The train images that the gap is measured on."""
        return match_classes(self.batches.train, self.val, self.session.seed)

    @property
    def conditions(self) -> Conditions:
        return self.batches.conditions

    def run(self) -> tuple[Fit, dict[str, Tensor]]:
        """One fit over all phases, and the classifier's weights at the best epoch of any phase."""
        result, weights = self._fit_phase(0, [])
        for number in range(1, len(self.conditions.phases)):
            later, later_weights = self._fit_phase(number, result.history)
            if self._is_better(later, result):
                best, weights = len(result.history) + later.best_epoch, later_weights
            else:
                best = result.best_epoch
            result = dataclasses.replace(later, history=[*result.history, *later.history], best_epoch=best)
        return result, weights

    def _fit_phase(self, number: int, past: Sequence[EpochRow]) -> tuple[Fit, dict[str, Tensor]]:
        """Fit the phase and load its best weights into the classifier; also returns them, on the CPU."""
        phases, finetune = self.conditions.phases, self.conditions.finetune
        phase, last = phases[number], number == len(phases) - 1
        first = sum(earlier.schedule.epochs for earlier in phases[:number])
        steps = self.batches.steps
        cache = FeatureCache(self.classifier.encoder, self.session)
        self.classifier.head.standardisation.fit(cache.without_augmentation(self.batches.train))
        learner = build_learner(self.classifier, phase, self.conditions, self.batches.train.labels, steps)
        images = ImageHistory()
        batches, evaluate = self._batches_and_evaluation(phase, learner, cache, images)
        result = fit(
            learner,
            lambda epoch: batches(first + epoch),
            steps,
            epochs=phase.schedule.epochs,
            session=self.session if last else _in_subfolder(self.session, phase),
            log=cast(Log, _ShiftedLog(self.log, len(past))) if past else self.log,
            settings=self.settings,
            end_of_epoch=evaluate,
            monitor=f"val/{finetune.monitor}",
            mode="min" if finetune.monitor == "loss" else "max",
            patience=finetune.patience,
            gradient_clip=finetune.clip,
            callbacks=[images],
            what=self.what if len(phases) == 1 else f"{self.what}, {phase.name}",
        )
        self.images.extend(images)
        learner.net.load_state_dict(learner.evaluated_state(result.best_state))
        return result, {name: value.cpu().clone() for name, value in self.classifier.state_dict().items()}

    def _batches_and_evaluation(
        self, phase: Phase, learner: Learner, cache: FeatureCache, images: ImageHistory
    ) -> tuple[Callable[[int], EpochBatches], Callable[[int], EpochRow]]:
        """The phase's batches by epoch, and the evaluation after each epoch, which adds to `images`."""
        train, val = self.matched, self.val

        def row(measured: tuple[Measured, Measured]) -> EpochRow:
            images.add(*measured)
            return describe_gap(*(each.metrics for each in measured))

        if phase.trains == "all":
            return self.batches.mixed, lambda _: row(_evaluate(learner.evaluated, train, val))
        views = self.conditions.finetune.views
        batches = self.batches.images if views is None else partial(self.batches.features, cache)
        return batches, lambda _: row(_evaluate_head(learner.evaluated, cache, train, val))

    def _is_better(self, later: Fit, earlier: Fit) -> bool:
        """True where the best epoch of `later` is better than the best of `earlier`; on a tie, the earlier stays."""
        monitor = self.conditions.finetune.monitor
        new, old = (each.best_row[f"val/{monitor}"] for each in (later, earlier))
        return new < old if monitor == "loss" else new > old


def _in_subfolder(session: Session, phase: Phase) -> Session:
    """A session whose resume state is in a subfolder: the folder itself is that of the last phase."""
    folder = session.checkpoint
    return dataclasses.replace(session, checkpoint=None if folder is None else folder / phase.name)


class _ShiftedLog:
    """A log whose epochs continue after those of earlier phases."""

    def __init__(self, log: Log, first: int) -> None:
        self.log, self.first = log, first

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.log.metrics(values, None if step is None else self.first + step)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)


def _evaluate(classifier: nn.Module, train: Examples, val: Examples) -> tuple[Measured, Measured]:
    """What an epoch gave, on train and val images without augmentation.

    The head's standardisation is first fitted to the features of these train images, as the encoder has changed.
    """
    net = cast(Classifier, classifier)
    features = embed(net.encoder, train.in_order())
    net.head.standardisation.fit(features)
    on_val = measure(net.head, embed(net.encoder, val.in_order()), val.labels)
    return measure(net.head, features, train.labels), on_val


def _evaluate_head(head: nn.Module, cache: FeatureCache, train: Examples, val: Examples) -> tuple[Measured, Measured]:
    """The same for a frozen encoder, from cached features."""
    on_train, on_val = (measure(cast(Head, head), cache.without_augmentation(of), of.labels) for of in (train, val))
    return on_train, on_val
