"""`dermflow profile`, `dermflow find-rate`: a few steps of the active experiment's trainings, watched.

Neither is a stage: nothing of what they train is kept, and where a training's time goes is no result of a study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch

from components import profiling, range_test
from components.classifier import Classifier, Examples, build_head
from components.encoder import Encoder, load_encoder, to_tensor
from components.errors import RunError, SettingsError
from components.figures import learning_rate
from components.finetuning import Conditions, Feed, Phase, build_learner, read_examples
from components.log import Log, SilentLog
from components.optimisers import adamw
from components.pixels import Pixels, read_pixels
from components.pretraining.vae import Config as VaeConfig
from components.session import Session, open_session
from components.training import Epoch, shuffled
from components.vae import VAE, Objective
from components.vae import Learner as VaeLearner
from flows.settings import Settings, load_settings

if TYPE_CHECKING:
    import pytorch_lightning as pl

Protocol = Literal["frozen", "full"]


class Training(NamedTuple):
    """What is to be watched."""

    name: str
    module: pl.LightningModule
    batches: Callable[[int], Iterable[Any]]
    session: Session


def profile(steps: int, tell: Callable[[str], None]) -> list[Path]:
    """Profile fine-tuning under each protocol of the study, and each VAE arm; gives the traces that can be opened."""
    settings = load_settings()
    made = []
    for training in _trainings(settings, _Voice(tell)):
        trace = settings.paths.reports / "profile" / f"{training.name}.json"
        tell(f"{training.name}: two epochs of at most {steps} steps")
        found = profiling.profile_steps(training.module, training.batches, training.session, steps, trace)
        for line in profiling.describe(found):
            tell(f"  {line}".rstrip())
        tell(f"  trace: {trace} (open it at ui.perfetto.dev or chrome://tracing)\n")
        made.append(trace)
    return made


def find_rate(arm: str, protocol: str, steps: int, tell: Callable[[str], None]) -> Path:
    """Range test of one arm's fine-tuning; gives the figure."""
    settings = load_settings()
    arm, chosen = arm or settings.study.arms[0], _protocol(settings, protocol)
    path = settings.paths.encoders / f"{arm}.safetensors"
    if not path.is_file():
        raise RunError(f"{path}: is not there; `dvc repro pretrain@{arm}` makes it, arms are {settings.study.arms}")
    training = _finetuning(settings, load_encoder(path, settings.backbone), chosen, _Voice(tell))
    found = range_test.run(training.module, training.batches, training.session, steps=steps)
    figure = learning_rate.draw(found.rates, found.losses, found.smoothed, found.suggestion)
    target = settings.paths.reports / "learning_rate" / f"{arm}-{chosen}.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=150)
    tell(_verdict(found, arm, chosen, _schedule(settings, chosen).learning_rate))
    return target


def _verdict(found: range_test.RangeTest, arm: str, protocol: Protocol, present: float) -> str:
    climbs = "" if found.diverged else " (the loss had not climbed by the end: the curve's right side is open)"
    return (
        f"{arm}, {protocol}: the loss is lowest at {found.lowest:.1e}{climbs}; suggested peak "
        f"finetune.{protocol}.learning_rate: {found.suggestion:.1e} (params.yaml has {present:.1e}). "
        "One rate serves all arms: look at each of them before you change it"
    )


def _protocol(settings: Settings, word: str) -> Protocol:
    """The one asked for, or the study's first; lpft ends in full."""
    word = word or settings.study.protocols[0]
    if word not in ("frozen", "full", "lpft"):
        raise SettingsError(f"protocol {word!r}: expected frozen or full")
    return "frozen" if word == "frozen" else "full"


def _trainings(settings: Settings, log: Log) -> Iterable[Training]:
    """Every kind of training that the study has, with random weights: they cost what others cost."""
    for protocol in dict.fromkeys(_protocol(settings, word) for word in settings.study.protocols):
        yield _finetuning(settings, _draw(settings), protocol, log)
    for arm in settings.study.arms:
        method: object = settings.pretrain.arms[arm]
        if isinstance(method, VaeConfig):
            yield _pretraining(settings, arm, method, log)


def _draw(settings: Settings) -> Encoder:
    torch.manual_seed(settings.pretrain.seed)
    return settings.backbone.build()


def _finetuning(settings: Settings, encoder: Encoder, protocol: Protocol, log: Log) -> Training:
    """The identical head on the train images, as the stage `finetune` has them."""
    classes, seed = settings.labels.classes, settings.study.seeds[0]
    train: Examples = read_examples(_packed(settings, "train"), classes, "train")
    conditions, phase = _conditions(settings, protocol)
    head = settings.finetune.head
    classifier = Classifier(
        encoder, build_head(encoder.feature_dim, head.hidden, head.dropout, len(classes), seed=seed)
    )
    feed = Feed(train, conditions, seed)
    learner = build_learner(classifier, phase, conditions, train.labels, feed.steps)
    session = _open(settings, seed, log)
    session.place(classifier)
    batches = feed.mixed if protocol == "full" else feed.images
    return Training(f"finetune-{protocol}", learner, batches, session)


def _conditions(settings: Settings, protocol: Protocol) -> tuple[Conditions, Phase]:
    finetune = settings.finetune
    phase = Phase(protocol, **_schedule(settings, protocol).model_dump())
    plain = finetune.model_dump(exclude={"frozen", "full", "lpft", "head"})
    head = finetune.head.model_dump()
    return Conditions(settings.labels.classes, [phase], augment=settings.augment, **head, **plain), phase


def _schedule(settings: Settings, protocol: Protocol) -> Any:
    return settings.finetune.frozen if protocol == "frozen" else settings.finetune.full


def _pretraining(settings: Settings, arm: str, method: VaeConfig, log: Log) -> Training:
    """A VAE on the train images."""
    pixels, seed = _packed(settings, "train"), settings.pretrain.seed
    steps = len(shuffled(len(pixels), method.batch_size, seed, epoch=0))
    vae = VAE(_draw(settings), method.latent_dim, pixels.size, method.decoder_width)
    objective = Objective(method.noise_variance, method.beta, method.warmup_epochs * steps, method.free_nats)
    optimise = partial(
        adamw,
        learning_rate=method.learning_rate,
        weight_decay=method.weight_decay,
        total_steps=method.epochs * steps,
    )

    def batches(epoch: int) -> Epoch:
        rows = shuffled(len(pixels), method.batch_size, seed, epoch)
        return Epoch(rows, draw=lambda _step, rows, _first: to_tensor(pixels.take(rows)))

    return Training(f"pretrain-{arm}", VaeLearner(vae, objective, optimise), batches, _open(settings, seed, log))


def _packed(settings: Settings, split: str) -> Pixels:
    folder = settings.paths.pixels / split
    if not (folder / "images.npy").is_file():
        raise RunError(f"{folder}: no images are packed there; `dvc repro pack` makes them")
    return read_pixels(folder)


def _open(settings: Settings, seed: int, log: Log) -> Session:
    """As the stages have it, but alone and without a resume state."""
    compute = settings.compute.model_dump(exclude={"devices", "num_nodes", "strategy"})
    return open_session(**compute, cpu=settings.backbone.cpu, seed=seed, checkpoint=None, log=log)


class _Voice(SilentLog):
    """Tells its lines to the person."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self.tell = tell

    def line(self, text: str) -> None:
        """Told."""
        self.tell(text)
