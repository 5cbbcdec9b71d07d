"""Settings of the study as a whole: arms, protocols, seeds and paths."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from components.base.config import Frozen
from components.base.fields import Distinct, Name, RelativePath, Seed
from components.base.run_id import FinetuneProtocol


class Study(Frozen):
    """Which arms are compared, under which fine-tuning protocols and with which seeds."""

    name: str = Field(min_length=1, max_length=400, description="title in reports and experiment in MLflow")
    arms: Annotated[tuple[Name, ...], Distinct] = Field(min_length=1, description="names under pretrain.arms")
    protocols: Annotated[tuple[FinetuneProtocol, ...], Distinct] = Field(
        min_length=1,
        description="frozen: only the head is trained; full: the encoder is trained too; lpft: head first, then all",
    )
    seeds: Annotated[tuple[Seed, ...], Distinct] = Field(
        min_length=1,
        description="each draws anew: the pretraining, and the head, the batches and the augmentation of fine-tuning",
    )
    reference: Name = Field(description="the arm that the others are compared with")

    @model_validator(mode="after")
    def _reference_is_an_arm(self) -> Self:
        if self.reference not in self.arms:
            raise ValueError(f"study.reference is {self.reference!r}, expected one of study.arms {list(self.arms)}")
        return self


class CrossValidation(Frozen):
    """The study repeated for each fold, and pooled; apart from `split`, which says how the study itself is split."""

    folds: int | None = Field(
        default=None,
        ge=3,
        description="number of folds: each is test once, the next one is val then, the others train; null: none is run",
    )


class Paths(Frozen):
    """Where each stage reads and writes, relative to the repository; dvc.yaml reads the same values."""

    synthetic: RelativePath = Field(description="folder of the drawn images")
    records: RelativePath = Field(description="table of `ingest`, see components/data/records.py: Raw")
    read_report: RelativePath = Field(
        description="what reading the data set did beyond its rows, JSON; stays with the data"
    )
    facts: RelativePath = Field(description="table of what the scan measured in each image file")
    accepted: RelativePath = Field(description="table of `validate`: Accepted")
    quarantine: RelativePath = Field(description="CSV of the rows that `validate` rejected, with the reason")
    split: RelativePath = Field(description="CSV of `split`: Split")
    pixels: RelativePath = Field(description="folder of the packed images, one subfolder a split")
    encoders: RelativePath = Field(description="folder of the pretrained encoders, one an arm and seed")
    classifiers: RelativePath = Field(description="folder of the fine-tuned classifiers")
    partial: RelativePath = Field(description="folder of the classifiers trained on a share of the train lesions")
    predictions: RelativePath = Field(description="folder of the predictions on val and test, one table a run")
    metrics: RelativePath = Field(description="folder of each stage's metrics, JSON")
    curves: RelativePath = Field(description="folder of the training curves, CSV")
    epoch_losses: RelativePath = Field(
        description="folder with the loss and predicted class of train and val images after each epoch, one table a run"
    )
    reports: RelativePath = Field(description="folder of pages and their records")
    bundle: RelativePath = Field(description="folder of the model for use")
    docs: RelativePath = Field(description="folder of the Data Docs of Great Expectations")
    external: RelativePath = Field(description="folder of the accepted tables of external test sets")
    external_predictions: RelativePath = Field(description="folder of the predictions on external test sets")
    cache: RelativePath = Field(
        description="folder of scan results by file content, so that unchanged images are skipped"
    )
    checkpoints: RelativePath = Field(description="folder of resume states; no output of any stage")
    folds: RelativePath = Field(description="folder of what pooling needs of each fold of a cross-validation")

    def below(self, root: Path) -> Self:
        """The same places below another folder, such as a clone."""
        return self.model_copy(update={name: root / getattr(self, name) for name in type(self).model_fields})
