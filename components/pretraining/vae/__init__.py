"""The encoder of a variational autoencoder, trained without labels, from random or from published ImageNet weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from components.base.config import Frozen
from components.models.initial_weights import initialise
from components.pretraining import TrainingTask
from components.pretraining.vae.health import find_alarms
from components.training.pretraining.gradient_training import GradientTraining, check_measurable

if TYPE_CHECKING:
    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Backbone
    from components.models.encoder import Encoder
    from components.pretraining.vae.learner import VaeLearner
    from components.pretraining.vae.model import VAE
    from components.training.session import Session

EXAMPLE: Mapping[str, Any] = {
    "epochs": 2, "batch_size": 8, "latent_dim": 4, "decoder_width": 16, "warmup_epochs": 1, "components": 8, "side": 16,
}  # fmt: skip
"""Settings that train in seconds, for tests."""

SHOWN = 64
"""Validation images that the figures are made from."""


class Mask(Frozen):
    """Cells of the encoder's input that are hidden, while the whole image is the target."""

    share: float = Field(gt=0, lt=1, description="of the cells of an image")
    cell: PositiveInt = Field(default=16, description="pixels, the side of a cell")


class Config(GradientTraining):
    """The network, its objective and its schedule. The paper states none of these values; the defaults are ours."""

    baseline: ClassVar[bool] = False

    kind: Literal["vae"] = "vae"
    epochs: PositiveInt = 8
    learning_rate: PositiveFloat = Field(default=0.001, description="peak of the one-cycle schedule, of AdamW")
    latent_dim: PositiveInt = 64
    posterior: Literal["last_map", "all_stages"] = Field(
        default="last_map", description="the maps whose pooled features the posterior reads"
    )
    likelihood: Literal["pixels", "whitened_pca"] = Field(
        default="whitened_pca", description="of the pixels, or of whitened principal components of train images"
    )
    components: PositiveInt = Field(default=64, description="whitened_pca: fewer than train images, and than pixels")
    side: PositiveInt = Field(default=32, description="whitened_pca: pixels to which images are averaged first")
    floor: float = Field(
        default=0.0, ge=0, description="whitened_pca: added to each variance, as a share of the largest one"
    )
    decoder_width: int = Field(default=256, ge=16, description="pixels: channels of the decoder's smallest map")
    noise_variance: Literal["optimal"] | PositiveFloat = Field(
        default=0.05, description="of the Gaussian likelihood; optimal: the mean squared error of each batch"
    )
    beta: float = Field(default=0.3, ge=0, description="final weight of the KL term; 1 is the ELBO")
    warmup_epochs: int = Field(default=2, ge=0, description="epochs over which beta rises linearly")
    free_nats: float = Field(default=0.0, ge=0, description="KL of each latent dimension that has no penalty")
    mask: Mask | None = Field(default=None, description="null: the encoder gets whole images")
    jitter: float = Field(
        default=0.0, ge=0, lt=1, description="of brightness, contrast, saturation of the input, +- share"
    )

    @model_validator(mode="after")
    def _warm_up_ends(self) -> Self:
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}, more than epochs ({self.epochs})")
        return self

    def learner(self, encoder: Encoder, train: Pixels, session: Session) -> TrainingTask[VaeLearner]:
        """Encoder, posterior head and decoder with their objective and optimiser.

        Raises:
            SettingsError: where there are not more images or pixels than components.
        """
        import torch

        from components.pretraining.vae.learner import VaeLearner, VaeObjective
        from components.training.pretraining.image_changes import ImageChanges
        from components.training.pretraining.images import draw_epoch

        torch.manual_seed(session.seed)  # the weights of head and decoder depend on the seed only
        vae = self._build(encoder, train, session)
        batches = partial(draw_epoch, train, self.batch_size, session.seed)
        steps = len(batches(0))
        objective = VaeObjective(
            noise_variance=self.fixed_variance,
            beta=self.beta,
            warmup_steps=self.warmup_epochs * steps,
            free_nats=self.free_nats,
        )
        share, cell = (0.0, 1) if self.mask is None else (self.mask.share, self.mask.cell)
        changes = ImageChanges(jitter=self.jitter, hidden=share, cell=cell)
        return TrainingTask(VaeLearner(vae, objective, self.optimiser(steps), changes), batches, steps)

    def _build(self, encoder: Encoder, train: Pixels, session: Session) -> VAE:
        """The encoder with a posterior head, a decoder and the variable of the likelihood."""
        from torch import nn

        from components.models import principal_components as pca
        from components.models.standardised_features import StandardisedFeatures
        from components.pretraining.vae.likelihood import PixelVariable, WhitenedComponents
        from components.pretraining.vae.model import VAE, Decoder, last_map_side

        features = StandardisedFeatures(encoder, self.posterior, frozen_norm=self.frozen_norm)
        if self.likelihood == "pixels":
            side = last_map_side(encoder, train.size)
            decoder: nn.Module = Decoder(self.latent_dim, train.size, self.decoder_width, side)
            return VAE(features, self.latent_dim, decoder, PixelVariable())
        pca.check_count(self.components, len(train), self.side, self.kind)
        pixels = pca.read_shrunk(train.take, pca.draw_rows(len(train), session.seed), self.side)
        variable = WhitenedComponents(pca.fit_components(pixels, self.components), self.side, self.floor)
        return VAE(features, self.latent_dim, nn.Linear(self.latent_dim, self.components), variable)

    @property
    def fixed_variance(self) -> float | None:
        """The noise variance; None where it is the optimal one."""
        return None if self.noise_variance == "optimal" else self.noise_variance

    def fit(
        self, encoder: Encoder, *, backbone: Backbone, train: Pixels, val: Pixels, session: Session, log: Log
    ) -> Sequence[Mapping[str, float]]:
        """Train encoder, posterior head and decoder together; the caller keeps the encoder only.

        Raises:
            TrainingError: without validation images, or where a loss is not finite.
            WeightsError: where published weights are missing, changed, or of another network.
        """
        check_measurable(val, "VAE")
        origin = initialise(encoder, self.init, backbone)
        task = self.learner(encoder, train, session)
        best = _largest_share(val, self.latent_dim)
        curve = self.run_training(
            task.module,
            task.batches,
            task.steps_per_epoch,
            backbone=backbone,
            train=train,
            session=session,
            log=log,
            what="VAE",
            origin=f"VAE from {origin}",
            end_of_epoch=partial(_measure, task.module.vae, train, val, self.fixed_variance, best),
            describe=_describe,
        )
        if session.leads:
            _draw_figures(task.module.vae, val, session, log)
        return curve

    def alarms(self, curve: Sequence[Mapping[str, float]]) -> list[str]:
        """What makes the training unfit to be judged, in words; empty for a sound one."""
        return find_alarms(curve, self.latent_dim)


def _largest_share(val: Pixels, latents: int) -> float:
    """Share of the variance of val that PCA with as many numbers as latents explains, fitted to these images."""
    import torch

    from components.models.principal_components import largest_share, read_shrunk
    from components.pretraining.vae.learner import MEASURED_SIDE
    from components.training.pretraining.images import MOST_MEASURED, even_rows

    rows = even_rows(len(val), MOST_MEASURED)
    return largest_share(torch.from_numpy(read_shrunk(val.take, rows, MEASURED_SIDE)), latents)


def _measure(
    vae: VAE, train: Pixels, val: Pixels, noise_variance: float | None, of_pca: float, _epoch: int
) -> dict[str, float]:
    """The terms on val and on as many train images, without augmentation.

    An optimal noise variance is that of the train images, on val too: nothing is chosen on val.
    """
    from components.pretraining.vae.learner import measure
    from components.training.pretraining.images import MOST_MEASURED, spread_evenly

    row: dict[str, float] = {}
    for name, pixels in (("train", train), ("val", val)):
        terms, _means = measure(vae, spread_evenly(pixels, min(len(val), MOST_MEASURED)), noise_variance)
        row |= {f"{name}/{term}": value for term, value in terms.items()}
        noise_variance = terms["noise_variance"]
    return row | {"val/explained_pca": of_pca}


def _describe(row: Mapping[str, float]) -> str:
    """The state after the last epoch as one line."""
    return (
        f"explains {row['val/explained']:.1%} of the variance of val (PCA with as many numbers as latents "
        f"{row['val/explained_pca']:.1%}), {row['val/active_units']:.0f} latents active, KL {row['val/kl']:.1f} nats"
    )


def _draw_figures(vae: VAE, val: Pixels, session: Session, log: Log) -> None:
    import torch

    from components.pretraining.vae import figures
    from components.training.pretraining.images import spread_evenly

    vae.eval()
    images = torch.cat(list(spread_evenly(val, SHOWN))).float() / 255  # (B, 3, S, S)
    with torch.no_grad(), session.autocast():
        log.figure("reconstructions.png", figures.draw_reconstructions(vae, images))
        log.figure("samples.png", figures.draw_samples(vae))
        log.figure("traversals.png", figures.draw_traversals(vae, images))
