"""The identical classification conditions: given them and a seed, two arms differ in the encoder alone.

Whatever else could differ is drawn from the seed, and hashed so that it can be compared: the train images, the
head's first weights, the batches, the augmentation with views and mixing. A frozen encoder is a fixed function, so
what it says of an image that comes again is computed once.

B batch, N images, D features, K classes, S the image's side in pixels.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self, cast

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from components.base.errors import TrainingError
from components.base.log import Log
from components.data.pixels import Pixels
from components.models.classifier import (
    LOOK,
    Classifier,
    Examples,
    Imbalance,
    Ints,
    Objective,
    alike,
    balanced_batches,
    build_head,
    build_objective,
    describe_gap,
    measure,
)
from components.models.encoder import Encoder, embed, to_tensor, weights_sha256
from components.models.layer_groups import freeze, layer_scales, set_drop_path
from components.training.augment import Augment, build
from components.training.loop import Epoch, Fit, Session, fit, generator, shuffled
from components.training.mixing import Mixing
from components.training.optimizers import Decay, adamw

Row = dict[str, float]
Batch = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs with a schedule of its own: the head alone learns, or the whole net."""

    protocol: Literal["frozen", "full"]
    epochs: int
    learning_rate: float  # peak, of AdamW


@dataclass(frozen=True)
class Conditions:
    """All that a fine-tuning depends on besides encoder, images and seed; flows.settings.Finetune says what each is."""

    classes: Sequence[str]
    phases: Sequence[Phase]  # each goes on from the best epoch of the one before
    batch_size: int
    weight_decay: float
    hidden: int  # units of the head's hidden layer
    dropout: float
    imbalance: Imbalance
    focal_gamma: float
    monitor: Literal["loss", "accuracy", "balanced_accuracy"]  # on val
    patience: int  # epochs
    augment: Augment
    warm_up: float = 0.1
    decay: Decay = "cosine"
    clip: float | None = None
    ema: float | None = None
    label_smoothing: float = 0.0
    views: int | None = None
    layer_decay: float = 1.0
    freeze: int = 0
    drop_path: float | None = None
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def trains_encoder(self) -> bool:
        """Whether any phase does."""
        return any(phase.protocol == "full" for phase in self.phases)


def read_examples(pixels: Pixels, classes: Sequence[str], split: str) -> Examples:
    """The split's images with their classes; TrainingError where they are of fewer than two."""
    labels = pixels.labels(classes)
    names = [classes[k] for k in np.unique(labels)]
    if len(names) < 2:
        raise TrainingError(
            f"{split} has {len(labels)} images of classes {names}, expected at least two classes: "
            f"mend labels.scheme or split (params.yaml)"
        )
    return Examples(pixels, labels)


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


class Learner(pl.LightningModule):
    """What of the classifier learns: all of it, or its head; a frozen encoder stands outside and is not saved again.

    With `ema` (the decay a step) the moving average of the weights is what counts, BatchNorm's statistics included;
    it begins at the weights after the first step and is kept in resume states as a part of the module.
    """

    def __init__(
        self,
        classifier: Classifier,
        protocol: Literal["frozen", "full"],
        objective: Objective,
        optimise: Any,
        *,
        frozen_stages: int = 0,
        ema: float | None = None,
    ) -> None:
        super().__init__()
        whole = protocol == "full"
        self.net: nn.Module = classifier if whole else classifier.head
        self.fixed = () if whole else (classifier.encoder.eval(),)  # in a tuple torch does not count it as a part
        self.objective = objective
        self.optimise = optimise
        classifier.encoder.requires_grad_(whole)
        self.still = freeze(classifier.encoder.trunk, frozen_stages) if whole else []
        self.average = None if ema is None else _average(self.net, ema)

    @property
    def evaluated(self) -> nn.Module:
        """The classifier or head that is measured and kept."""
        return self.net if self.average is None else self.average.module

    def chosen(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state dict of `evaluated` within one of this module."""
        prefix = "net." if self.average is None else "average.module."
        return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}

    def train(self, mode: bool = True) -> Self:
        """Training mode for all that learns."""
        super().train(mode)
        for module in (*self.still, *self.fixed, *([] if self.average is None else [self.average])):
            module.eval()
        return self

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> dict[str, Tensor]:
        """The objective on uint8 images (B, 3, S, S) or features (B, D), and classes (B,) or their shares (B, K)."""
        inputs, targets = batch
        logits = self._logits(inputs)  # (B, K)
        return {"loss": self.objective(logits.float(), targets)}

    def _logits(self, inputs: Tensor) -> Tensor:
        if inputs.dtype == torch.uint8:
            inputs = inputs.float() / 255
            for encoder in self.fixed:
                with torch.no_grad():
                    inputs = encoder(inputs).float()  # (B, D)
        logits: Tensor = self.net(inputs)
        return logits

    def configure_optimizers(self) -> Any:
        """What `optimise` says."""
        return self.optimise(self)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Lightning's, and then the average follows."""
        super().optimizer_step(*args, **kwargs)
        if self.average is not None:
            self.average.update_parameters(self.net)


def _average(net: nn.Module, decay: float) -> AveragedModel:
    follow = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    average = AveragedModel(net, multi_avg_fn=follow, use_buffers=True)
    return average.requires_grad_(False)


def _draw_head(encoder: Encoder, conditions: Conditions, seed: int) -> Any:
    return build_head(encoder.feature_dim, conditions.hidden, conditions.dropout, len(conditions.classes), seed)


def build_learner(classifier: Classifier, phase: Phase, conditions: Conditions, labels: Ints, steps: int) -> Learner:
    """The phase's learner; `labels` (N,) are the train images', `steps` are an epoch's."""
    scales: dict[str, float] = {}
    if phase.protocol == "full" and conditions.layer_decay != 1:
        found = layer_scales(classifier.encoder.trunk, conditions.layer_decay)
        scales = {f"net.encoder.trunk.{name}": scale for name, scale in found.items()}
    optimise = partial(
        adamw,
        learning_rate=phase.learning_rate,
        weight_decay=conditions.weight_decay,
        total_steps=phase.epochs * steps,
        warm_up=conditions.warm_up,
        decay=conditions.decay,
        scales=scales,
    )
    frozen_stages, ema = conditions.freeze, conditions.ema
    objective = _objective(conditions, labels)
    return Learner(classifier, phase.protocol, objective, optimise, frozen_stages=frozen_stages, ema=ema)


def _objective(conditions: Conditions, labels: Ints) -> Objective:
    classes, gamma = len(conditions.classes), conditions.focal_gamma
    return build_objective(conditions.imbalance, labels, classes, gamma, conditions.label_smoothing)


class Feed:
    """The train images in batches, every draw a pure function of seed and epoch; epochs count over all phases."""

    def __init__(self, train: Examples, conditions: Conditions, seed: int) -> None:
        self.train = train
        self.conditions = conditions
        self.seed = seed
        self.augmentation = build(conditions.augment, seed)
        mixes = conditions.trains_encoder and (conditions.mixup > 0 or conditions.cutmix > 0)
        self.mixing = None
        if mixes:
            self.mixing = Mixing(conditions.mixup, conditions.cutmix, len(conditions.classes), seed)

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return len(self.orders(0))

    def orders(self, epoch: int) -> list[Ints]:
        """An epoch's batches as row numbers."""
        labels, batch_size = self.train.labels, self.conditions.batch_size
        if self.conditions.imbalance == "sampling":
            return balanced_batches(labels, batch_size, generator(self.seed, epoch))
        return shuffled(len(labels), batch_size, self.seed, epoch)

    def images(self, epoch: int) -> Epoch:
        """An epoch's augmented images (B, 3, S, S) uint8 and classes (B,)."""

        def draw(_step: int, rows: Ints, first: int) -> Batch:
            return to_tensor(self._augmented(rows, epoch, first)), torch.from_numpy(self.train.labels[rows])

        return Epoch(self.orders(epoch), draw, names=self.names)

    def mixed(self, epoch: int) -> Epoch:
        """The same images mixed, with shares of classes (B, K), where the conditions say so."""
        mixing = self.mixing
        if mixing is None:
            return self.images(epoch)

        def draw(step: int, rows: Ints, first: int) -> Batch:
            mixed, shares = mixing(self._augmented(rows, epoch, first), self.train.labels[rows], epoch, step)
            return to_tensor(mixed), torch.from_numpy(shares)

        return Epoch(self.orders(epoch), draw, mixed=True, names=self.names)

    def features(self, kept: Kept, epoch: int) -> Epoch:
        """An epoch's features (B, D) and classes (B,), of the view whose turn it is."""
        views = self.conditions.views or 0

        def draw(_step: int, rows: Ints, _first: int) -> Batch:
            turn = epoch % max(1, views)
            features = kept(f"view {turn}", partial(self.view, turn)) if views else kept.plain(self.train)
            return features[rows], torch.from_numpy(self.train.labels[rows])

        return Epoch(self.orders(epoch), draw, names=self.names)

    def names(self, rows: Ints) -> list[str]:
        """The images' ids."""
        return [str(name) for name in self.train.pixels.index["image_id"].iloc[rows]]

    def _augmented(self, rows: Ints, epoch: int, first: int) -> Any:
        return self.augmentation(self.train.pixels.take(rows), epoch, first)

    def view(self, number: int) -> Iterator[Tensor]:
        """All train images in order, (B, 3, S, S) uint8, each augmented by draws of its row and the view's number."""
        for first in range(0, len(self.train.labels), LOOK):
            rows = np.arange(first, min(first + LOOK, len(self.train.labels)))
            yield to_tensor(self._augmented(rows, number, first))

    def batches_sha256(self) -> str:
        """Hash of which image is in which batch, over all epochs that are planned."""
        digest = hashlib.sha256()
        for epoch in range(sum(phase.epochs for phase in self.conditions.phases)):
            for rows in self.orders(epoch):
                digest.update(f"{epoch} {len(rows)} ".encode() + rows.tobytes())
        return digest.hexdigest()

    def augmentation_sha256(self) -> str:
        """Hash of what happens to the images: policy and draws, how many views are kept, mixing."""
        prints = [self.augmentation.sha256()]
        if self.conditions.views is not None:
            prints.append(f"{self.conditions.views} views")
        if self.mixing is not None:
            prints.append(self.mixing.sha256())
        return prints[0] if len(prints) == 1 else hashlib.sha256(" ".join(prints).encode()).hexdigest()


class Kept:
    """A frozen encoder's features, each set computed when first asked for, in memory."""

    def __init__(self, encoder: Encoder, session: Session) -> None:
        self.encoder, self.session = encoder, session
        self.features: dict[object, Tensor] = {}

    def __call__(self, name: object, images: Callable[[], Iterable[Tensor]]) -> Tensor:
        """Features (N, D) of uint8 `images`, which `name` stands for."""
        if name not in self.features:
            with self.session.autocast():
                self.features[name] = embed(self.encoder, images())
        return self.features[name]

    def plain(self, split: Examples) -> Tensor:
        """Features of a split's images as they are."""
        return self(id(split), split.in_order)


def _watch(classifier: nn.Module, train: Examples, val: Examples) -> Row:
    """What is measured after each epoch, on un-augmented images, alike for train and val."""
    net = cast(Classifier, classifier)
    return describe_gap(*(measure(net.head, embed(net.encoder, of.in_order()), of.labels) for of in (train, val)))


def _watch_head(head: nn.Module, kept: Kept, train: Examples, val: Examples) -> Row:
    """The same where the encoder cannot change."""
    return describe_gap(*(measure(cast(Any, head), kept.plain(of), of.labels) for of in (train, val)))
