"""Settings of evaluation, comparison and the analyses behind it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from components.base.config import Frozen
from components.base.fields import OpenShare, Seed
from components.base.run_id import FinetuneProtocol
from components.data.labels import Labels


class Evaluate(Frozen):
    """What is measured on the test images."""

    calibration_bins: PositiveInt


class Clinical(Frozen):
    """What a clinic wants to know of each model; computed by the stage compare."""

    malignant: tuple[str, ...] | None = Field(description="diagnoses; null: not known")
    severity: dict[str, tuple[str, ...]] | None = Field(
        description="level -> diagnoses, from least to most severe; null: no triage"
    )
    costs: tuple[tuple[float, ...], ...] | None = Field(
        description="of one image: rows the true level, columns the decision; null: no triage"
    )
    levels: tuple[OpenShare, ...] = Field(description="of specificity and of sensitivity that val fixes")
    thresholds: tuple[OpenShare, ...] = Field(description="chances of malignancy at which a person would act")
    answered: OpenShare = Field(description="share of images that a model which may abstain answers")
    miss: OpenShare = Field(description="share of lesions whose set of answers may lack the truth")
    ages: tuple[PositiveInt, ...] = Field(description="edges of the age bands, years")
    least_groups: PositiveInt = Field(description="lesions below which a subgroup shows no number")

    @model_validator(mode="after")
    def _costs_fit_levels(self) -> Self:
        count = len(self.severity or ())
        if self.costs is not None and [len(row) for row in self.costs] != [count] * count:
            raise ValueError(f"clinical.costs is no table of {count} x {count}, one row and column a level of severity")
        return self

    def malignant_classes(self, labels: Labels) -> tuple[str, ...] | None:
        """None where no class is known to be malignant, or none not to be."""
        found = labels.gather({"malignant": self.malignant or ()}, "clinical.malignant")["malignant"]
        return found if 0 < len(found) < len(labels.classes) else None

    def severity_of_classes(self, labels: Labels) -> dict[str, tuple[str, ...]] | None:
        """None where a class has no level."""
        found = labels.gather(self.severity or {}, "clinical.severity")
        whole = sum(map(len, found.values())) == len(labels.classes) and all(found.values())
        return found if whole else None


Said = Annotated[str, Field(min_length=1)] | None  # null: not stated, and the cards say so


class Cards(Frozen):
    """What a person must say for model card and data sheet, because no file of a run knows it."""

    owner: Said = Field(description="who answers for model and data: a person, a department")
    contact: Said = Field(description="where to reach them")
    intended_use: Said = Field(description="what the model is meant for, and in whose hands")
    setting: Said = Field(description="where the images were taken: clinic, device, years")
    consent: Said = Field(description="of the patients, to this use of their images")
    ethics: Said = Field(description="approval of an ethics committee, or why none is needed")
    data_licence: Said = Field(description="of images of your own; of published ones Dermflow knows it")
    weights_licence: Said = Field(
        description="under which the model is given on, as Hugging Face writes it: cc-by-nc-4.0"
    )
    notes: Said = Field(description="anything else")


class Compare(Frozen):
    """How sure the verdict must be."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    resamples: PositiveInt = Field(description="bootstrap resamples of test lesions")
    min_seeds: int = Field(ge=2, description="fewer decide nothing")
    margin: Annotated[float, Field(ge=0, le=0.5)] = Field(
        description="balanced accuracy; differences inside it do not matter in practice"
    )
    power: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="chance to find a difference as large as the margin, for which seeds and lesions are counted"
    )
    onset: PositiveFloat = Field(description="nats; the gap in loss that counts as begun")
    seed: Seed


class LabelEfficiency(Frozen):
    """Learning curves over the number of train lesions: which points, and what is kept equal."""

    shares: tuple[OpenShare, ...] = Field(description="of the train lesions, rising; all of them is the study itself")
    protocols: tuple[FinetuneProtocol, ...] = Field(
        description="of study.protocols, those that are asked; none: nothing is trained"
    )
    seeds: tuple[Seed, ...] = Field(description="of study.seeds; each draws lesions of its own")
    budget: Literal["steps", "epochs"] = Field(
        description="steps: as many as the study's, so that labels alone are fewer; epochs: as many passes, fewer steps"
    )
    seed: Seed = Field(description="of the draw of lesions, with the run's seed")

    @field_validator("shares", "protocols", "seeds")
    @classmethod
    def _no_repeats(cls, values: tuple[object, ...]) -> tuple[object, ...]:
        if len(set(values)) < len(values):
            raise ValueError("names something twice")
        return values

    @field_validator("shares")
    @classmethod
    def _shares_rise(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if list(shares) != sorted(shares):
            raise ValueError("expected rising shares, such as [0.1, 0.25, 0.5]")
        return shares


class Explain(Frozen):
    """What is looked at behind single answers; decides nothing."""

    images: PositiveInt = Field(description="test lesions a class, drawn at random; the maps are checked on these")
    errors: int = Field(ge=0, description="most confident errors of each model")
    neighbours: PositiveInt = Field(description="nearest train lesions of a test image")
    steps: int = Field(ge=2, description="of the integral from a blurred image to the sharp one")
    alike: OpenShare = Field(description="rank correlation from which two maps count as the same")
    lost: OpenShare = Field(description="share of the logits' change that the integral may miss")
    seed: Seed = Field(description="of the drawn lesions, and of the weights drawn anew")


class Robustness(Frozen):
    """What is measured on damaged test images, and on test images without the lesion."""

    strengths: tuple[Annotated[int, Field(ge=1, le=5)], ...] = Field(
        min_length=1, description="of each kind of damage, of five, in rising order"
    )
    images: PositiveInt | None = Field(
        description="test images at most: whole lesions, rare classes kept first; null: all"
    )
    border: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        description="width of what is left where the border alone is shown, share of the side"
    )
    seed: Seed

    @field_validator("strengths")
    @classmethod
    def _rise(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if list(values) != sorted(set(values)):
            raise ValueError("expected rising strengths, each once")
        return values
