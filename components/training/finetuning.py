"""The identical classification conditions: given them and a seed, two arms differ in the encoder alone.

Whatever else could differ is drawn from the seed, and hashed so that it can be compared: the train images, the
head's first weights, the batches, the augmentation with views and mixing. A frozen encoder is a fixed function, so
what it says of an image that comes again is computed once.

B batch, N images, D features, K classes, S the image's side in pixels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from components.base.log import Log
from components.models.classifier import Classifier, build_head
from components.models.encoder import Encoder, embed, weights_sha256
from components.models.layer_groups import freeze, set_drop_path
from components.training.conditions import Conditions, Phase
from components.training.epoch_metrics import describe_gap, measure
from components.training.examples import Examples, alike
from components.training.feature_cache import Kept
from components.training.finetune_batches import Feed
from components.training.learner import Learner, build_learner
from components.training.loop import Epoch, Fit, Session, fit

Row = dict[str, float]


@dataclass(frozen=True)
class Finetuned:
    """What a fine-tuning gave."""

    fit: Fit  # of all phases, one curve
    weights: dict[str, Tensor]  # the classifier's state dict at the best epoch
    fingerprints: dict[str, str]  # sha256 of all that must be equal for all arms


def finetune_encoder(
    encoder: Encoder,
    train: Examples,
    val: Examples,
    conditions: Conditions,
    session: Session,
    log: Log,
    settings: Mapping[str, object],
    what: str,
) -> Finetuned:
    """Train a classifier on `encoder`, which is changed in place where a phase trains it.

    `settings` are what a resume state must have been made with, `what` names the run in errors and progress.
    """
    if conditions.trains_encoder:
        set_drop_path(encoder.trunk, conditions.drop_path)
        freeze(encoder.trunk, conditions.freeze)  # done again when its phase begins; here a wrong value fails early
    classifier = Classifier(encoder, _draw_head(encoder, conditions, session.seed))
    feed = Feed(train, conditions, session.seed)
    prints = {
        "train_index_sha256": train.sha256(),
        "head_init_sha256": weights_sha256(classifier.head),
        "batches_sha256": feed.batches_sha256(),
        "augmentation_sha256": feed.augmentation_sha256(),
    }
    log.tags({"encoder/sha256": weights_sha256(encoder), **prints})
    session.place(classifier)
    known = {**settings, "encoder_sha256": weights_sha256(encoder), **prints, "val": val.sha256()}
    job = _Job(classifier, feed, val, conditions, session, log, known, what)
    result, weights = job.run()
    classifier.load_state_dict(weights)
    log.tags({"weights/sha256": weights_sha256(classifier)})
    return Finetuned(result, weights, prints)


@dataclass(frozen=True)
class _Job:
    """A fine-tuning's phases, one after the other."""

    classifier: Classifier
    feed: Feed
    val: Examples
    conditions: Conditions
    session: Session
    log: Log
    settings: Mapping[str, object]
    what: str

    def run(self) -> tuple[Fit, dict[str, Tensor]]:
        """One fit over all phases, and the classifier's weights at the best epoch of any."""
        result, weights = self._phase(0, [])
        for number in range(1, len(self.conditions.phases)):
            then, its_weights = self._phase(number, result.history)
            if self._is_better(then, result):
                best, weights = len(result.history) + then.best_epoch, its_weights
            else:
                best = result.best_epoch
            result = dataclasses.replace(then, history=[*result.history, *then.history], best_epoch=best)
        return result, weights

    def _phase(self, number: int, past: Sequence[Row]) -> tuple[Fit, dict[str, Tensor]]:
        """Fit the phase; the classifier then has its best weights, which are also given, on the CPU."""
        phase, conditions = self.conditions.phases[number], self.conditions
        first = sum(earlier.epochs for earlier in conditions.phases[:number])
        last = number == len(conditions.phases) - 1
        learner = build_learner(self.classifier, phase, conditions, self.feed.train.labels, self.feed.steps)
        batches, watch = self._feeding(phase, learner)
        result = fit(
            learner,
            lambda epoch: batches(first + epoch),
            self.feed.steps,
            epochs=phase.epochs,
            session=self.session if last else _beside(self.session, phase),
            log=cast(Log, _Later(self.log, len(past))) if past else self.log,
            settings=self.settings,
            end_of_epoch=watch,
            monitor=f"val/{conditions.monitor}",
            mode="min" if conditions.monitor == "loss" else "max",
            patience=conditions.patience,
            gradient_clip=conditions.clip,
            what=self.what if len(conditions.phases) == 1 else f"{self.what}, {phase.protocol}",
        )
        learner.net.load_state_dict(learner.chosen(result.best_state))
        return result, {name: value.cpu().clone() for name, value in self.classifier.state_dict().items()}

    def _feeding(self, phase: Phase, learner: Learner) -> tuple[Callable[[int], Epoch], Callable[[int], Row]]:
        """The phase's batches by epoch, and what is measured after each."""
        train, val = alike(self.feed.train, self.val, self.session.seed), self.val
        if phase.protocol == "full":
            return self.feed.mixed, lambda _: _watch(learner.evaluated, train, val)
        kept = Kept(self.classifier.encoder, self.session)
        batches = self.feed.images if self.conditions.views is None else partial(self.feed.features, kept)
        return batches, lambda _: _watch_head(learner.evaluated, kept, train, val)

    def _is_better(self, new: Fit, old: Fit) -> bool:
        """Whether the best epoch of `new` is better than the best of `old`; ties keep the earlier."""
        monitor = f"val/{self.conditions.monitor}"
        ours, theirs = (each.history[each.best_epoch][monitor] for each in (new, old))
        return ours < theirs if self.conditions.monitor == "loss" else ours > theirs


def _beside(session: Session, phase: Phase) -> Session:
    """A session whose resume state stands in a subfolder: the folder itself is the last phase's."""
    folder = session.checkpoint
    return dataclasses.replace(session, checkpoint=None if folder is None else folder / phase.protocol)


class _Later:
    """A log whose epochs go on where an earlier phase's ended."""

    def __init__(self, log: Log, first: int) -> None:
        self.log, self.first = log, first

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        self.log.metrics(values, None if step is None else self.first + step)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.log, name)


def _draw_head(encoder: Encoder, conditions: Conditions, seed: int) -> Any:
    return build_head(encoder.feature_dim, conditions.hidden, conditions.dropout, len(conditions.classes), seed)


def _watch(classifier: nn.Module, train: Examples, val: Examples) -> Row:
    """What is measured after each epoch, on un-augmented images, alike for train and val."""
    net = cast(Classifier, classifier)
    return describe_gap(*(measure(net.head, embed(net.encoder, of.in_order()), of.labels) for of in (train, val)))


def _watch_head(head: nn.Module, kept: Kept, train: Examples, val: Examples) -> Row:
    """The same where the encoder cannot change."""
    return describe_gap(*(measure(cast(Any, head), kept.plain(of), of.labels) for of in (train, val)))
