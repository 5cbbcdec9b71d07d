"""Settings of the study as a whole: arms, protocols, seeds, paths, compute, classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from components.base.config import Frozen
from components.base.run_id import FinetuneProtocol
from flows.settings.fields import Inside, Seed, Word


class Study(Frozen):
    """What is compared with what, and how often."""

    name: str = Field(min_length=1, description="stands in reports and in MLflow")
    arms: tuple[Word, ...] = Field(min_length=1, description="names under pretrain.arms")
    protocols: tuple[FinetuneProtocol, ...] = Field(
        min_length=1,
        description="frozen: only the head learns; full: the encoder learns too; lpft: head first, then all",
    )
    seeds: tuple[Seed, ...] = Field(min_length=1, description="one fine-tuning run each: head, batches, augmentation")
    reference: Word = Field(description="the arm that the others are compared with")

    @field_validator("arms", "protocols", "seeds")
    @classmethod
    def _no_repeats(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(values)) < len(values):
            raise ValueError("names something twice")
        return values

    @model_validator(mode="after")
    def _reference_is_an_arm(self) -> Self:
        if self.reference not in self.arms:
            raise ValueError(f"study.reference {self.reference!r} is none of study.arms {list(self.arms)}")
        return self


class Paths(Frozen):
    """Where everything stands, relative to the repository; dvc.yaml reads the same values."""

    synthetic: Inside
    records: Inside
    facts: Inside
    accepted: Inside
    quarantine: Inside
    split: Inside
    pixels: Inside
    encoders: Inside
    classifiers: Inside
    partial: Inside
    predictions: Inside
    metrics: Inside
    curves: Inside
    reports: Inside
    docs: Inside
    external: Inside
    external_predictions: Inside
    cache: Inside
    checkpoints: Inside


class Compute(Frozen):
    """What the work runs on. Not part of a stage's freshness: another machine does not make results stale."""

    device: Literal["auto", "cpu", "cuda"] = Field(description="auto: a GPU where there is one")
    threads: PositiveInt = Field(description="threads a stage; the flow runs cores // threads stages at once")
    precision: Literal["auto", "32-true", "bf16-mixed"] = Field(
        description="auto: the backbone's own on a CPU, bf16 on a GPU"
    )
    compile: bool = Field(description="torch.compile on a GPU")
    checkpoint_minutes: PositiveFloat | None = Field(
        default=None, description="a resume state within the epoch too, this often; null: at epochs' ends"
    )
    checkpoint_steps: PositiveInt | None = Field(default=None, description="the same, in steps")
    micro_batch: Annotated[int, Field(ge=3)] | None = Field(
        default=None, description="images a device takes at once, their gradients added up; null: the whole batch"
    )
    devices: PositiveInt = Field(default=1, description="GPUs, or processes on a CPU, that share each batch; a host")
    num_nodes: PositiveInt = Field(default=1, description="hosts; each runs the stage under torchrun")
    strategy: Literal["auto", "ddp", "ddp_find_unused_parameters_true"] = Field(
        default="auto", description="how devices work together, in PyTorch Lightning's words"
    )


class Labels(Frozen):
    """From the data set's diagnoses to the classes that are learned."""

    scheme: str = Field(description="one of schemes")
    schemes: dict[str, dict[str, tuple[str, ...]]] = Field(
        description="scheme -> class -> diagnoses; order is class order"
    )

    @model_validator(mode="after")
    def _is_a_map(self) -> Self:
        if self.scheme not in self.schemes:
            raise ValueError(f"labels.scheme {self.scheme!r} is none of {sorted(self.schemes)}")
        for name, classes in self.schemes.items():
            words = [word for diagnoses in classes.values() for word in diagnoses]
            twice = sorted({word for word in words if words.count(word) > 1})
            if twice:
                raise ValueError(f"labels.schemes.{name} maps {twice[0]!r} to two classes")
            if len(classes) < 2:
                raise ValueError(f"labels.schemes.{name} has {len(classes)} classes, expected at least 2")
        return self

    def gather(self, levels: Mapping[str, Sequence[str]], setting: str) -> dict[str, tuple[str, ...]]:
        """Levels of diagnoses as levels of classes; raises ValueError for a class that stands in two of them."""
        found: dict[str, list[str]] = {level: [] for level in levels}
        for name, words in self.schemes[self.scheme].items():
            shares = {level: len(set(words) & set(diagnoses)) for level, diagnoses in levels.items()}
            meets = [level for level, share in shares.items() if share]
            if len(meets) > 1 or (meets and shares[meets[0]] < len(words)):
                raise ValueError(
                    f"{setting} divides class {name!r} of labels.schemes.{self.scheme}, whose diagnoses are "
                    f"{list(words)}: a class lies on one side as a whole"
                )
            if meets:
                found[meets[0]].append(name)
        return {level: tuple(names) for level, names in found.items()}

    @property
    def classes(self) -> tuple[str, ...]:
        """The target classes in order; a class's index is its place here."""
        return tuple(self.schemes[self.scheme])

    @property
    def mapping(self) -> dict[str, str]:
        """Diagnosis -> target class."""
        return {word: name for name, words in self.schemes[self.scheme].items() for word in words}
