"""`dermflow profile`, `dermflow find-rate`, `dermflow augment`: the active experiment's trainings, watched.

None is a stage: nothing of what they train is kept, and where a training's time goes is no result of a study.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from ruamel.yaml import YAML
from torch import nn

from components.base.errors import RunError, SettingsError
from components.base.files import whole
from components.base.log import Log, SilentLog
from components.base.run_id import FinetuneProtocol
from components.data.pixels import Pixels, read_pixels
from components.models.classifier import Classifier, build_head
from components.models.encoder import IMAGENET_MEAN, IMAGENET_STD, Encoder, to_tensor
from components.models.weights_file import load_encoder
from components.pretraining.vae import Config as VaeConfig
from components.pretraining.vae.model import VAE, Objective
from components.pretraining.vae.model import Learner as VaeLearner
from components.training import profiling, range_test
from components.training.conditions import Conditions, Phase, read_examples
from components.training.feature_cache import Kept
from components.training.figures import augmentation
from components.training.figures import range_test as range_test_figure
from components.training.finetune_batches import Feed
from components.training.learner import build_learner
from components.training.loop import Epoch, shuffled
from components.training.optimizers import adamw
from components.training.session import Session, open_session
from flows.settings import Settings, load_settings
from flows.stage_io.training import build_conditions

if TYPE_CHECKING:
    import pytorch_lightning as pl
    from matplotlib.figure import Figure

    from components.data.pixels import Ints
    from components.training.figures.augmentation import Image

Protocol = Literal["frozen", "full"]


class Training(NamedTuple):
    """What is to be watched."""

    name: str
    module: pl.LightningModule
    batches: Callable[[int], Iterable[Any]]
    session: Session
    beside: Mapping[str, nn.Module] = {}  # what takes part and does not learn


def profile(steps: int, tell: Callable[[str], None]) -> list[Path]:
    """Profile fine-tuning under each protocol of the study, and each VAE arm; gives the traces that can be opened."""
    settings = load_settings()
    made = []
    for training in _trainings(settings, _Voice(tell)):
        trace = settings.paths.reports / "profile" / f"{training.name}.json"
        tell(f"{training.name}: two short epochs of {steps} steps")
        module, batches, session, beside = training[1:]
        found = profiling.profile_steps(module, batches, session, steps, trace, beside)
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
    figure = range_test_figure.draw(found.rates, found.losses, found.smoothed, found.suggestion)
    target = settings.paths.reports / "learning_rate" / f"{arm}-{chosen}.png"
    with whole(target) as unfinished:
        figure.savefig(unfinished, dpi=150)
    tell(_verdict(found, arm, chosen, _schedule(settings, chosen).learning_rate))
    return target


def augment(images: int, epochs: int, tell: Callable[[str], None]) -> list[Path]:
    """The augmentation policy as it is used: as a file that albumentations reads, and as a picture."""
    settings = load_settings()
    protocol: Protocol = "frozen" if set(settings.study.protocols) == {"frozen"} else "full"
    feed, folder = _feed(settings, protocol), settings.paths.reports / "augment"
    policy, picture = folder / "policy.yaml", folder / "samples.png"
    with whole(policy) as unfinished:
        _write_policy(unfinished, feed)
    with whole(picture) as unfinished:
        _draw_samples(feed, protocol, images, epochs).savefig(unfinished, dpi=150)
    tell(f"train images: {_words(feed)}; drawn for {protocol}, seed {feed.seed}")
    return [policy, picture]


def _words(feed: Feed) -> str:
    mixing = {"mixup": feed.conditions.mixup, "cutmix": feed.conditions.cutmix} if feed.mixing else {}
    return ", ".join(
        [feed.conditions.augment.words(), *(f"{name} {alpha:g}" for name, alpha in mixing.items() if alpha)]
    )


ABOUT = """\
What happens to a train image, in this order; albumentations reads it: albumentations.load(FILE, data_format="yaml").
All draws of an image come from one stream of numbers that seed, epoch and the image's position begin
(components/training/augment.py). All of it is done on uint8; the encoder normalises last.
"""


def _write_policy(path: Path, feed: Feed) -> None:
    """Albumentations' own description, and beside it the settings that it was made from."""
    mixing = {"mixup": feed.conditions.mixup, "cutmix": feed.conditions.cutmix} if feed.mixing else None
    content = {
        "augment": feed.conditions.augment.model_dump(),  # as in params.yaml
        "seed": feed.seed,
        "sha256": feed.augmentation_sha256(),
        **feed.augmentation.serialized(),
        "mixing": mixing,
        "normalisation": {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD), "of": "pixels in [0, 1]"},
    }
    yaml = YAML()
    with path.open("w") as file:
        file.writelines(f"# {line}\n" for line in ABOUT.splitlines())
        yaml.dump(content, file)


def _draw_samples(feed: Feed, protocol: Protocol, images: int, epochs: int) -> Figure:
    rows = _of_all_classes(feed, images)
    views = feed.conditions.views if protocol == "frozen" else None
    if views is None:
        columns = {f"epoch {epoch + 1}": _seen(feed.mixed(epoch), rows) for epoch in range(epochs)}
    else:
        columns = {f"view {number + 1}": _viewed(feed, number, rows) for number in range(min(views, epochs))}
    index = feed.train.pixels.index.iloc[rows]
    names = list(zip(index["label"], index["image_id"], strict=True))
    return augmentation.draw(
        list(feed.train.pixels.take(rows)), list(columns.values()), names, list(columns), _words(feed)
    )


def _of_all_classes(feed: Feed, count: int) -> Ints:
    """Row numbers of the first images of each class, as many of one class as of another where there are enough."""
    labels = pd.Series(feed.train.labels)
    table = pd.DataFrame({"label": labels, "turn": labels.groupby(labels).cumcount()})
    chosen = table.sort_values(["turn", "label"], kind="stable").head(count).sort_values(["label", "turn"])
    return chosen.index.to_numpy(dtype=np.int64)


def _seen(epoch: Epoch, rows: Ints) -> list[Image | None]:
    """What training gets of the images at `rows` in an epoch, by the code that it gets them by; None: nothing."""
    found: dict[int, Image] = {}
    position = 0
    for step, batch in enumerate(epoch.rows):
        if np.isin(batch, rows).any():
            images, _ = epoch.draw(step, batch, position)
            found |= {int(row): image for row, image in zip(batch, _as_array(images), strict=True)}
        position += len(batch)
    return [found.get(int(row)) for row in rows]


def _viewed(feed: Feed, number: int, rows: Ints) -> list[Image | None]:
    images = np.concatenate([_as_array(block) for block in feed.view(number)])
    return list(images[rows])


def _as_array(images: torch.Tensor) -> Image:
    """(B, 3, S, S) to (B, S, S, 3)."""
    return np.asarray(images.permute(0, 2, 3, 1).numpy())


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
    classes, seed, head = settings.labels.classes, settings.study.seeds[0], settings.finetune.head
    drawn = build_head(encoder.feature_dim, head.hidden, head.dropout, len(classes), seed=seed)
    classifier = Classifier(encoder, drawn)
    feed = _feed(settings, protocol)
    conditions = feed.conditions
    (phase,) = conditions.phases
    learner = build_learner(classifier, phase, conditions, feed.train.labels, feed.steps)
    session = _open(settings, seed, log)
    session.place(classifier)
    batches = _batches(feed, phase, Kept(encoder, session))
    beside = {} if protocol == "full" else {"encoder": encoder}
    return Training(f"finetune-{protocol}", learner, batches, session, beside)


def _feed(settings: Settings, protocol: Protocol) -> Feed:
    classes, seed = settings.labels.classes, settings.study.seeds[0]
    train = read_examples(_packed(settings, "train"), classes, "train")
    return Feed(train, _conditions(settings, protocol), seed)


def _batches(feed: Feed, phase: Phase, kept: Kept) -> Callable[[int], Epoch]:
    if phase.protocol == "full":
        return feed.mixed
    return feed.images if feed.conditions.views is None else partial(feed.features, kept)


def _conditions(settings: Settings, protocol: Protocol) -> Conditions:
    """As the stage `finetune` has them, with one phase."""
    return build_conditions(FinetuneProtocol(protocol), settings.labels, settings.augment, settings.finetune)


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
