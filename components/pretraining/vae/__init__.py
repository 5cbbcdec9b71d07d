"""The paper's arm: the encoder of a variational autoencoder, trained from scratch without labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator
from pydantic_core import to_jsonable_python

from components.base.config import Frozen
from components.base.errors import TrainingError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Backbone
    from components.models.encoder import Encoder
    from components.pretraining.vae.model import VAE, Objective
    from components.training.loop import Epoch, Session

LOOK = 256  # images a batch where nothing is learned
EXAMPLES, COLUMNS, ROWS = 64, 8, 8  # images that pictures are made from; images a row; latents traversed
REACH = 2.5  # standard deviations of the prior


class Config(Frozen):
    """The VAE and how it learns. The paper states none of these values; the defaults are ours."""

    kind: Literal["vae"] = "vae"
    epochs: PositiveInt = 8
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = Field(default=0.001, description="peak of the one-cycle schedule, of AdamW")
    weight_decay: float = Field(default=0.01, ge=0)
    latent_dim: PositiveInt = 64
    decoder_width: int = Field(default=256, ge=16, description="channels at the decoder's narrowest map")
    noise_variance: PositiveFloat = Field(default=0.05, description="of the Gaussian likelihood, on pixels in [0, 1]")
    beta: float = Field(default=0.3, ge=0, description="final weight of the KL term; 1 is the ELBO")
    warmup_epochs: int = Field(default=2, ge=0, description="beta rises linearly over these")
    free_nats: float = Field(default=0.0, ge=0, description="per latent dimension, not penalised")

    @model_validator(mode="after")
    def _warm_up_ends(self) -> Self:
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}, more than epochs ({self.epochs})")
        return self

    def fit(
        self, encoder: Encoder, backbone: Backbone, train: Pixels, val: Pixels, session: Session, log: Log
    ) -> Sequence[Mapping[str, float]]:
        """Train encoder, posterior head and decoder together; afterwards only the encoder is kept."""
        import torch

        from components.pretraining.vae.model import VAE, Learner
        from components.training import loop
        from components.training.optimizers import adamw

        _check_enough(val)
        torch.manual_seed(session.seed)  # head and decoder too are drawn anew
        vae = VAE(encoder, self.latent_dim, train.size, self.decoder_width)
        steps = len(loop.shuffled(len(train), self.batch_size, session.seed, epoch=0))
        optimise = partial(
            adamw,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            total_steps=self.epochs * steps,
        )
        learner = Learner(vae, self._objective(steps), optimise)
        result = loop.fit(
            learner,
            partial(_batches, train, self.batch_size, session.seed),
            steps,
            epochs=self.epochs,
            session=session,
            log=log,
            settings=self._conditions(backbone, train),
            end_of_epoch=partial(_measure, vae, train, val, self.noise_variance),
            what="VAE",
        )
        learner.load_state_dict(result.best_state)  # the last epoch's, also where a resume state had it all
        log.tags({"weights/source": f"VAE from scratch, seed {session.seed}"})
        if session.leads:
            _draw(vae, val, session, log)
        return result.history

    def _objective(self, steps: int) -> Objective:
        from components.pretraining.vae.model import Objective

        return Objective(self.noise_variance, self.beta, self.warmup_epochs * steps, self.free_nats)

    def _conditions(self, backbone: Backbone, train: Pixels) -> dict[str, object]:
        """All that the result depends on; a resume state made under others is refused."""
        images = train.index[["image_id", "crc32"]].to_csv(index=False, lineterminator="\n")  # which, and their pixels
        return {
            "pretrain": self.model_dump(mode="json"),
            "backbone": to_jsonable_python(backbone),
            "pack.image_size": train.size,
            "images": hashlib.sha256(images.encode()).hexdigest(),
        }


def _check_enough(val: Pixels) -> None:
    if len(val) == 0:
        raise TrainingError("VAE: no validation images to look at; raise split.val (params.yaml)")


def _batches(pixels: Pixels, size: int, seed: int, epoch: int) -> Epoch:
    """One epoch's images in a new order, (B, 3, S, S) uint8."""
    from components.models.encoder import to_tensor
    from components.training.loop import Epoch, shuffled

    return Epoch(
        shuffled(len(pixels), size, seed, epoch),
        draw=lambda _step, rows, _first: to_tensor(pixels.take(rows)),
        names=lambda rows: pixels.index["image_id"].iloc[rows].tolist(),
    )


def _in_order(pixels: Pixels, count: int) -> Iterator[Tensor]:
    """`count` images spread evenly over all, or all, (B, 3, S, S) uint8."""
    import numpy as np

    from components.models.encoder import to_tensor

    rows = np.linspace(0, len(pixels) - 1, min(count, len(pixels))).round().astype(np.int64)
    chunks = (rows[start : start + LOOK] for start in range(0, len(rows), LOOK))
    return (to_tensor(pixels.take(chunk)) for chunk in chunks)


def _measure(vae: VAE, train: Pixels, val: Pixels, noise_variance: float, _: int) -> dict[str, float]:
    """The terms on val, and on as many train images, un-augmented."""
    from components.pretraining.vae.model import measure

    row: dict[str, float] = {}
    for name, pixels in (("train", train), ("val", val)):
        terms, _means = measure(vae, _in_order(pixels, len(val)), noise_variance)
        row |= {f"{name}/{term}": value for term, value in terms.items()}
    return row


def _draw(vae: VAE, val: Pixels, session: Session, log: Log) -> None:
    """Pictures of what was learned: reconstructions, samples from the prior, traversals of the latents."""
    import torch

    vae.eval()
    images = torch.cat(list(_in_order(val, EXAMPLES))).float() / 255  # (B, 3, S, S)
    with torch.no_grad(), session.autocast():
        _draw_reconstructions(vae, images, log)
        _draw_samples(vae, log)
        _draw_traversals(vae, images, log)


def _draw_reconstructions(vae: VAE, images: Tensor, log: Log) -> None:
    """Each image above what the decoder makes of its posterior mean."""
    import torch

    from components.report.figures import tiles

    shown = images[:COLUMNS]
    mean, _ = vae.encode(shown.to(vae.device))
    pairs = torch.stack([shown, vae.decode(mean).cpu()])  # (2, C, 3, S, S)
    title = "Validation images and their reconstructions from the posterior mean"
    log.figure("reconstructions.png", tiles.draw(_pictures(pairs), ["image", "reconstruction"], title))


def _draw_samples(vae: VAE, log: Log) -> None:
    """Expected images of latents drawn from the prior."""
    import torch

    from components.report.figures import tiles

    noise = torch.randn(4 * COLUMNS, vae.latent_dim, generator=torch.Generator().manual_seed(0))
    images = torch.stack(vae.decode(noise.to(vae.device)).cpu().chunk(4))  # (4, C, 3, S, S)
    log.figure("samples.png", tiles.draw(_pictures(images), [""] * 4, "Samples from the prior"))


def _draw_traversals(vae: VAE, images: Tensor, log: Log) -> None:
    """The first image's posterior mean, moved along the latents that carry most, in prior deviations."""
    import torch

    from components.pretraining.vae.model import gaussian_kl
    from components.report.figures import tiles

    mean, log_var = vae.encode(images.to(vae.device))
    kl = gaussian_kl(mean, log_var).mean(dim=0)  # (Z,)
    chosen = kl.argsort(descending=True)[:ROWS]
    latents = mean[0].repeat(len(chosen), COLUMNS, 1)  # (R, C, Z)
    for row, latent in zip(latents, chosen, strict=True):
        row[:, latent] = torch.linspace(-REACH, REACH, COLUMNS)
    moved = torch.stack([vae.decode(row).cpu() for row in latents])  # (R, C, 3, S, S)
    names = [f"z{int(latent)}, {float(kl[latent]):.1f} nats" for latent in chosen]
    title = f"Latents from -{REACH:g} to {REACH:g}, those with the largest KL"
    log.figure("traversals.png", tiles.draw(_pictures(moved), names, title))


def _pictures(images: Tensor) -> np.ndarray[Any, Any]:
    """(R, C, 3, S, S) to (R, C, S, S, 3) as numpy."""
    pictures: np.ndarray[Any, Any] = images.float().movedim(2, -1).numpy()
    return pictures
