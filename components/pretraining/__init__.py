"""Pretraining methods: how an encoder gets its weights, one method a folder.

A method's `__init__.py` defines `Config(Frozen)`, which follows `Method`; torch is imported inside its methods only, so
that settings can be read without it. The contract tests cover a new folder as it is. Where its default settings train
for more than seconds, or are not complete, it states `EXAMPLE`, settings by name with which the tests make a `Config`.
A method that does not use the settings' backbone has a file `architecture.py` (`components.models.own_architecture`)
and a property `backbone`, see `BringsBackbone`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from components.base.licence import Licence
    from components.base.log import Log
    from components.data.pixels import Pixels
    from components.models.backbone import Architecture, Backbone
    from components.models.encoder import Encoder
    from components.training.batches import EpochBatches
    from components.training.session import Session

M = TypeVar("M", bound="pl.LightningModule", covariant=True)


@dataclass(frozen=True)
class TrainingTask(Generic[M]):
    """A module with its batches: what the training loop, the profiler and the range test need of a method."""

    module: M
    batches: Callable[[int], EpochBatches]
    """Epoch number, from 0, to its batches: a pure function."""
    steps_per_epoch: int


class Method(Protocol):
    """What the stage pretrain needs of a method."""

    kind: str

    @property
    def licence(self) -> Licence | None:
        """Terms of the published weights that the encoder starts from; None where it starts from random weights."""

    @property
    def baseline(self) -> bool:
        """True for a simple arm that every other one should exceed; pages say where one does not."""

    def learner(self, encoder: Encoder, train: Pixels, session: Session) -> TrainingTask[Any] | None:
        """The module that trains `encoder` in place, with its batches of `train`; None where nothing is trained.

        It sets torch's seed to the session's before it draws weights. `fit` makes its module here, too.
        """

    def fit(
        self, encoder: Encoder, *, backbone: Backbone, train: Pixels, val: Pixels, session: Session, log: Log
    ) -> Sequence[Mapping[str, float]]:
        """Change the encoder's weights in place, and log the tag `weights/source`.

        Args:
            encoder: drawn at random from the stage's seed.
            backbone: of the settings; another architecture built `encoder` where the method brings its own.
            train: images to learn from, with and without labels; never test images.
            val: images on which each epoch is measured.
            session: device, number format, seed, folder of the resume state.
            log: the run.

        Returns:
            One row of numbers an epoch; none where nothing is trained.
        """

    def model_dump(self, *, mode: Literal["json"]) -> dict[str, Any]:
        """The settings as plain values."""


@runtime_checkable
class BringsBackbone(Protocol):
    """A method with an architecture of its own."""

    @property
    def backbone(self) -> Architecture:
        """The `Config` of its `architecture.py`."""


@runtime_checkable
class RaisesAlarms(Protocol):
    """A method that knows from its curve when its training went wrong."""

    def alarms(self, curve: Sequence[Mapping[str, float]]) -> list[str]:
        """What is wrong, as `NAME: NUMBERS`, such as `dead decoder: 3 % of the variance explained`; empty: nothing.

        The pages and the verdict show them; a small overfitting gap of such an arm gets no credit.

        Args:
            curve: what `fit` returned.
        """


def find_alarms(method: Method, curve: Sequence[Mapping[str, float]]) -> list[str]:
    """The alarms of a method that raises some; none for another."""
    return method.alarms(curve) if isinstance(method, RaisesAlarms) else []


def choose_architecture(method: Method, backbone: Backbone) -> Architecture:
    """The architecture of a method's encoder: its own where it has one, else `backbone` of the settings."""
    return method.backbone if isinstance(method, BringsBackbone) else backbone
