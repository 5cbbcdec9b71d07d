"""The paper's arm: the encoder of a variational autoencoder, trained from scratch without labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from components.config import Frozen

if TYPE_CHECKING:
    from components.backbones import Backbone
    from components.encoder import Encoder
    from components.log import Log
    from components.pixels import Pixels
    from components.training import Session


class Config(Frozen):
    """The VAE and how it learns. The paper states none of these values; the defaults are ours."""

    kind: Literal["vae"] = "vae"
    epochs: PositiveInt = 8
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = Field(
        default=0.001, description="peak of the one-cycle schedule, of AdamW"
    )
    weight_decay: float = Field(default=0.01, ge=0)
    latent_dim: PositiveInt = 64
    decoder_width: int = Field(default=256, ge=16, description="channels at the decoder's narrowest map")
    noise_variance: PositiveFloat = Field(
        default=0.05, description="of the Gaussian likelihood, on pixels in [0, 1]"
    )
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
    ) -> Mapping[str, float]:
        """Train encoder, posterior head and decoder on the ELBO; only the encoder is kept."""
        raise NotImplementedError
