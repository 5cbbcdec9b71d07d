"""The paper's arm: the encoder of a variational autoencoder, trained from random weights without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from pydantic_core import to_jsonable_python

from components.base.config import Frozen
from components.base.errors import TrainingError
from components.pretraining import TrainingTask

if TYPE_CHECKING:
    from torch import Tensor

    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Backbone
    from components.models.encoder import Encoder
    from components.pretraining.vae.learner import VaeLearner
    from components.pretraining.vae.model import VAE
    from components.training.batches import EpochBatches
    from components.training.session import Session

EXAMPLE: Mapping[str, Any] = {
    "epochs": 2, "batch_size": 8, "latent_dim": 4, "decoder_width": 16, "warmup_epochs": 1,
}  # fmt: skip
"""Settings that train in seconds, for tests."""

SHOWN = 64
"""Validation images that the figures are made from."""


class Config(Frozen):
    """The network, its objective and its schedule. The paper states none of these values; the defaults are ours."""

    licence: ClassVar[None] = None
    baseline: ClassVar[bool] = False

    kind: Literal["vae"] = "vae"
    epochs: PositiveInt = 8
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = Field(default=0.001, description="peak of the one-cycle schedule, of AdamW")
    weight_decay: float = Field(default=0.01, ge=0)
    latent_dim: PositiveInt = 64
    decoder_width: int = Field(default=256, ge=16, description="channels of the decoder's smallest feature map")
    noise_variance: PositiveFloat = Field(default=0.05, description="of the Gaussian likelihood, on pixels in [0, 1]")
    beta: float = Field(default=0.3, ge=0, description="final weight of the KL term; 1 is the ELBO")
    warmup_epochs: int = Field(default=2, ge=0, description="epochs over which beta rises linearly")
    free_nats: float = Field(default=0.0, ge=0, description="KL of each latent dimension that has no penalty")

    @model_validator(mode="after")
    def _warm_up_ends(self) -> Self:
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}, more than epochs ({self.epochs})")
        return self

    def learner(self, encoder: Encoder, train: Pixels, session: Session) -> TrainingTask[VaeLearner]:
        """Encoder, posterior head and decoder with their objective and optimiser."""
        import torch

        from components.pretraining.vae.learner import VaeLearner, VaeObjective
        from components.pretraining.vae.model import VAE
        from components.training.batches import shuffled_batches
        from components.training.optimizers import adamw

        torch.manual_seed(session.seed)  # the weights of head and decoder depend on the seed only
        vae = VAE(encoder, self.latent_dim, train.size, self.decoder_width)
        steps = len(shuffled_batches(len(train), self.batch_size, session.seed, epoch=0))
        objective = VaeObjective(
            noise_variance=self.noise_variance,
            beta=self.beta,
            warmup_steps=self.warmup_epochs * steps,
            free_nats=self.free_nats,
        )
        optimise = partial(
            adamw,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            total_steps=self.epochs * steps,
        )
        batches = partial(_batches, train, self.batch_size, session.seed)
        return TrainingTask(VaeLearner(vae, objective, optimise), batches, steps)

    def fit(
        self, encoder: Encoder, *, backbone: Backbone, train: Pixels, val: Pixels, session: Session, log: Log
    ) -> Sequence[Mapping[str, float]]:
        """Train encoder, posterior head and decoder together; the caller keeps the encoder only.

        Raises:
            TrainingError: without validation images, or where a loss is not finite.
        """
        from components.training import loop

        _check_enough(val)
        task = self.learner(encoder, train, session)
        result = loop.fit(
            task.module,
            task.batches,
            task.steps_per_epoch,
            epochs=self.epochs,
            session=session,
            log=log,
            settings=self._conditions(backbone, train),
            end_of_epoch=partial(_measure, task.module.vae, train, val, self.noise_variance),
            what="VAE",
        )
        task.module.load_state_dict(result.best_state)  # the last epoch's, also where a resume state was complete
        log.tags({"weights/source": f"VAE from scratch, seed {session.seed}"})
        if session.leads:
            _draw_figures(task.module.vae, val, session, log)
        return result.history

    def _conditions(self, backbone: Backbone, train: Pixels) -> dict[str, object]:
        """Everything that the result depends on; a resume state made under other conditions is refused."""
        images = train.index[["image_id", "crc32"]].to_csv(index=False, lineterminator="\n")  # identity and content
        return {
            "pretrain": self.model_dump(mode="json"),
            "backbone": to_jsonable_python(backbone),
            "pack.image_size": train.size,
            "images": hashlib.sha256(images.encode()).hexdigest(),
        }


def _check_enough(val: Pixels) -> None:
    if len(val) == 0:
        raise TrainingError("VAE: no validation images to measure; raise split.val (params.yaml)")


def _batches(pixels: Pixels, size: int, seed: int, epoch: int) -> EpochBatches:
    """One epoch's images in a new order, (B, 3, S, S) uint8."""
    from components.models.encoder import to_tensor
    from components.training.batches import EpochBatches, shuffled_batches

    return EpochBatches(
        shuffled_batches(len(pixels), size, seed, epoch),
        draw=lambda _step, rows, _first: to_tensor(pixels.take(rows)),
        names=lambda rows: pixels.index["image_id"].iloc[rows].tolist(),
    )


def _spread_evenly(pixels: Pixels, count: int) -> Iterator[Tensor]:
    """`count` images at equal distances in the table, or all where there are fewer, (B, 3, S, S) uint8."""
    import numpy as np

    from components.models.encoder import read_batches

    rows = np.linspace(0, len(pixels) - 1, min(count, len(pixels))).round().astype(np.int64)
    return read_batches(pixels.take, rows)


def _measure(vae: VAE, train: Pixels, val: Pixels, noise_variance: float, _epoch: int) -> dict[str, float]:
    """The terms on val and on as many train images, without augmentation."""
    from components.pretraining.vae.learner import measure

    row: dict[str, float] = {}
    for name, pixels in (("train", train), ("val", val)):
        terms, _means = measure(vae, _spread_evenly(pixels, len(val)), noise_variance)
        row |= {f"{name}/{term}": value for term, value in terms.items()}
    return row


def _draw_figures(vae: VAE, val: Pixels, session: Session, log: Log) -> None:
    import torch

    from components.pretraining.vae import figures

    vae.eval()
    images = torch.cat(list(_spread_evenly(val, SHOWN))).float() / 255  # (B, 3, S, S)
    with torch.no_grad(), session.autocast():
        log.figure("reconstructions.png", figures.draw_reconstructions(vae, images))
        log.figure("samples.png", figures.draw_samples(vae))
        log.figure("traversals.png", figures.draw_traversals(vae, images))
