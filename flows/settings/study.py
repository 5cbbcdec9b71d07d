"""Settings of the study as a whole: arms, protocols, seeds, paths, compute, classes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from components.base.config import Frozen
from components.base.fields import Name, RelativePath, Seed
from components.base.run_id import FinetuneProtocol


class Study(Frozen):
    """What is compared with what, and how often."""

    name: str = Field(min_length=1, description="stands in reports and in MLflow")
    arms: tuple[Name, ...] = Field(min_length=1, description="names under pretrain.arms")
    protocols: tuple[FinetuneProtocol, ...] = Field(
        min_length=1,
        description="frozen: only the head learns; full: the encoder learns too; lpft: head first, then all",
    )
    seeds: tuple[Seed, ...] = Field(min_length=1, description="one fine-tuning run each: head, batches, augmentation")
    reference: Name = Field(description="the arm that the others are compared with")

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

    synthetic: RelativePath
    records: RelativePath
    facts: RelativePath
    accepted: RelativePath
    quarantine: RelativePath
    split: RelativePath
    pixels: RelativePath
    encoders: RelativePath
    classifiers: RelativePath
    partial: RelativePath
    predictions: RelativePath
    metrics: RelativePath
    curves: RelativePath
    reports: RelativePath
    docs: RelativePath
    external: RelativePath
    external_predictions: RelativePath
    cache: RelativePath
    checkpoints: RelativePath


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
