"""The names of a fine-tuning run and of its encoder, and the protocols that a run can follow."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from components.base.errors import SettingsError


class FinetuneProtocol(StrEnum):
    """Which part of the network learns during fine-tuning, as params.yaml writes it."""

    FROZEN = "frozen"
    FULL = "full"
    LPFT = "lpft"

    @property
    def description(self) -> str:
        """The protocol in the words of pages and sentences."""
        return DESCRIPTIONS[self]


DESCRIPTIONS = {
    FinetuneProtocol.FROZEN: "encoder frozen",
    FinetuneProtocol.FULL: "whole network trained",
    FinetuneProtocol.LPFT: "head first, then all",
}


@dataclass(frozen=True, order=True)
class RunId:
    """One fine-tuning run: an arm under a protocol with a seed, on all train lesions or on a share of them.

    >>> str(RunId("vae", FinetuneProtocol.FROZEN, 0))
    'vae-frozen-0'
    >>> RunId.parse("vae-frozen-0-0.25").share
    0.25
    """

    arm: str
    protocol: FinetuneProtocol
    seed: int
    share: float = 1.0
    """Of the train lesions, in (0, 1]."""

    def __str__(self) -> str:
        """`ARM-PROTOCOL-SEED`, as files and MLflow name the run; `-SHARE` follows where the share is below 1."""
        return f"{self.arm}-{self.conditions}"

    @property
    def conditions(self) -> str:
        """The name without the arm: runs that share it differ in the encoder alone."""
        return f"{self.protocol}-{self.seed}" + (f"-{self.share}" if self.share < 1 else "")

    @property
    def encoder(self) -> str:
        """The name of the encoder that the run starts from."""
        return encoder_name(self.arm, self.seed)

    @property
    def model(self) -> str:
        """`ARM-PROTOCOL`: what all seeds have in common."""
        return model_name(self.arm, self.protocol)

    @classmethod
    def parse(cls, name: str) -> RunId:
        """The inverse of `str`.

        Raises:
            SettingsError: where the name is not ARM-PROTOCOL-SEED or ARM-PROTOCOL-SEED-SHARE.
        """
        arm, *rest = name.split("-")
        try:
            protocol, seed, share = rest if len(rest) == 3 else [*rest, "1"]
            found = cls(arm, FinetuneProtocol(protocol), int(seed), float(share))
        except ValueError as error:
            raise SettingsError(
                f"run {name!r} is no name of a fine-tuning run, expected ARM-PROTOCOL-SEED or ARM-PROTOCOL-SEED-SHARE "
                f"with a protocol of {[str(each) for each in FinetuneProtocol]}"
            ) from error
        return found


def encoder_name(arm: str, seed: int) -> str:
    """`ARM-SEED`, the name of an arm's encoder as one seed of the study draws it."""
    return f"{arm}-{seed}"


def model_name(arm: str, protocol: str) -> str:
    """`ARM-PROTOCOL`, the name of an arm's models under a protocol, over all seeds."""
    return f"{arm}-{protocol}"
