"""Every setting there is, with its meaning and unit: one class a section of params.yaml.

A stage takes the sections that its arguments name, whole. The sections stand here rather than in the stages'
files so that checking params.yaml imports no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from ruamel.yaml import YAML

from components.base.config import Frozen, OneOf, explain
from components.base.errors import SettingsError
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.explanations.settings import Explain
from components.models.backbone import Backbone
from components.robustness.settings import Robustness
from components.training.settings import Augment, Compute, Finetune
from components.validation.settings import Scan, Validate
from flows.settings.analysis import Cards, Clinical, Compare, Evaluate, LabelEfficiency
from flows.settings.data import Cohort, Pack, Privacy, Split, Synthesize
from flows.settings.study import Paths, Study
from flows.settings.training import Pretrain

PARAMS = Path("params.yaml")


class Settings(Frozen):
    """The active experiment: params.yaml as a whole."""

    study: Study
    paths: Paths
    compute: Compute
    dataset: Annotated[Adapter, OneOf("data.adapters")]
    external: tuple[Cohort, ...]
    privacy: Privacy
    labels: Labels
    synthesize: Synthesize
    scan: Scan
    validate_: Validate = Field(alias="validate")
    split: Split
    pack: Pack
    augment: Augment
    backbone: Annotated[Backbone, OneOf("models.backbones")]
    pretrain: Pretrain
    finetune: Finetune
    evaluate: Evaluate
    compare: Compare
    clinical: Clinical
    cards: Cards
    label_efficiency: LabelEfficiency
    explain: Explain
    robustness: Robustness

    @model_validator(mode="after")
    def _learning_curves_end_in_the_study(self) -> Self:
        asked = self.label_efficiency
        for name in ("shares", "seeds"):
            if asked.protocols and not getattr(asked, name):
                raise ValueError(
                    f"label_efficiency.protocols asks for {list(asked.protocols)}, but efficiency.{name} is empty"
                )
        for name, wanted, there in (
            ("protocols", asked.protocols, self.study.protocols),
            ("seeds", asked.seeds if asked.protocols else (), self.study.seeds),
        ):
            if not set(wanted) <= set(there):
                raise ValueError(
                    f"efficiency.{name} {list(wanted)} are not all in study.{name} {list(there)}: the study's runs are "
                    "the end of each curve"
                )
        return self

    @model_validator(mode="after")
    def _levels_keep_classes_whole(self) -> Self:
        self.clinical.malignant_classes(self.labels)
        self.clinical.severity_of_classes(self.labels)
        return self

    @model_validator(mode="after")
    def _arms_are_defined(self) -> Self:
        chosen, defined = self.study.arms, tuple(self.pretrain.arms)
        for arm in chosen:
            if arm not in defined:
                raise ValueError(f"study.arms names {arm!r}, pretrain.arms has {sorted(defined)}")
        others = [arm for arm in defined if arm not in chosen]
        if others:
            raise ValueError(
                f"pretrain.arms has {others}, which study.arms {list(chosen)} does not name: DVC would pretrain them; "
                "remove them, or let `dermflow use PRESET study.arms=[...]` write params.yaml"
            )
        return self

    @model_validator(mode="after")
    def _own_images_have_a_secret_key(self) -> Self:
        for dataset in (self.dataset, *(cohort.dataset for cohort in self.external)):
            if self.privacy.key == "public" and not dataset.published:
                raise ValueError(
                    f"privacy.key is 'public', but {dataset.kind} data ({dataset.path}) are no published data set: "
                    "set privacy.key: secret and make a key with `dermflow key`"
                )
        return self

    @model_validator(mode="after")
    def _cohorts_have_names_of_their_own(self) -> Self:
        names = [cohort.name for cohort in self.external]
        if len(set(names)) < len(names):
            raise ValueError(f"external names a cohort twice: {names}")
        return self

    @model_validator(mode="after")
    def _cohorts_mean_what_is_learned(self) -> Self:
        for cohort in self.external:
            cohort.mapping(self.labels)
        return self


def read_yaml(path: Path) -> object:
    """A YAML file's content; a broken file is named with line and column."""
    try:
        return YAML(typ="safe").load(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); run from the repository's root") from error
    except Exception as error:  # ruamel's scanner errors share no public base
        raise SettingsError(f"{path}: is not YAML: {error}") from error


def parse_settings(data: object, origin: str) -> Settings:
    """Settings from parsed YAML; `origin` is the file that errors name."""
    from pydantic import ValidationError

    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise explain(error, data, origin) from None


def load_settings(path: Path = PARAMS) -> Settings:
    """The active experiment, checked whole."""
    return parse_settings(read_yaml(path), str(path))
