"""All settings: the sections of params.yaml and the checks across sections.

Each section is one class, in which each setting has its meaning and unit. Sections that a component needs are defined
in components/ROOM/settings.py, the others in this folder; none of them imports torch, so that checking params.yaml is
fast. A stage takes the sections that its arguments name, whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from ruamel.yaml import YAML

from components.base.config import Frozen, OneOf, explain
from components.base.errors import SettingsError
from components.cards.settings import CardSettings
from components.clinical.settings import Clinical
from components.comparison.settings import Compare, Evaluate
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.deployment.settings import Bundle, Promotion
from components.explanations.settings import Explain
from components.label_efficiency.settings import LabelEfficiency
from components.models.backbone import Backbone
from components.robustness.settings import Robustness
from components.training.settings import Augment, Compute, Finetune
from components.validation.settings import Scan, Validate
from flows.places import PARAMS as PARAMS
from flows.settings.data import Cohort, Pack, Privacy, Split, Synthesize
from flows.settings.study import CrossValidation, Paths, Study
from flows.settings.training import Pretrain


class Settings(Frozen):
    """The whole params.yaml."""

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
    cross_validation: CrossValidation
    pack: Pack
    augment: Augment
    backbone: Annotated[Backbone, OneOf("models.backbones")]
    pretrain: Pretrain
    finetune: Finetune
    evaluate: Evaluate
    compare: Compare
    clinical: Clinical
    cards: CardSettings
    bundle: Bundle
    promotion: Promotion
    label_efficiency: LabelEfficiency
    explain: Explain
    robustness: Robustness

    @model_validator(mode="after")
    def _check_learning_curves_end_in_the_study(self) -> Self:
        chosen, study = self.label_efficiency.model_dump(mode="json"), self.study.model_dump(mode="json")
        if not chosen["protocols"]:
            return self
        for name in ("shares", "seeds"):
            if not chosen[name]:
                raise ValueError(
                    f"label_efficiency.{name} is empty, expected at least one value, since label_efficiency.protocols "
                    f"is {chosen['protocols']}; an empty list there trains nothing"
                )
        for name in ("protocols", "seeds"):
            if not set(chosen[name]) <= set(study[name]):
                raise ValueError(
                    f"label_efficiency.{name} is {chosen[name]}, expected only values of study.{name} {study[name]}: "
                    "the runs of the study are the last point of each curve"
                )
        return self

    @model_validator(mode="after")
    def _check_folds_are_the_same(self) -> Self:
        folds, own = self.cross_validation.folds, self.split.folds
        if folds and own and folds != own:
            raise ValueError(
                f"cross_validation.folds is {folds} and split.folds is {own}, expected the same number: the study "
                "itself is then one of the folds; or set one of them to null"
            )
        return self

    @model_validator(mode="after")
    def _check_seeds_are_those_of_a_look(self) -> Self:
        looks, seeds = self.compare.looks, self.study.seeds
        if looks and (len(seeds) not in looks or seeds != tuple(range(len(seeds)))):
            raise ValueError(
                f"study.seeds is {list(seeds)}, but compare.looks {list(looks)} plans that many seeds, counted from 0: "
                f"set study.seeds to {list(range(looks[0]))}; `dermflow decide` adds the others"
            )
        return self

    @model_validator(mode="after")
    def _check_clinical_levels_divide_no_class(self) -> Self:
        self.clinical.malignant_classes(self.labels)
        self.clinical.severity_of_classes(self.labels)
        self.clinical.deployment_of_classes(self.labels)
        return self

    @model_validator(mode="after")
    def _check_operating_point_is_measured(self) -> Self:
        level, levels = self.bundle.point.level, self.clinical.levels
        if level not in levels:
            raise ValueError(
                f"bundle.point.level is {level:g}, expected one of clinical.levels {list(levels)}, for which "
                "val chooses thresholds"
            )
        return self

    @model_validator(mode="after")
    def _check_arms_are_defined_and_used(self) -> Self:
        chosen, defined = self.study.arms, tuple(self.pretrain.arms)
        for arm in chosen:
            if arm not in defined:
                raise ValueError(f"study.arms names {arm!r}, expected one of pretrain.arms {sorted(defined)}")
        others = [arm for arm in defined if arm not in chosen]
        if others:
            raise ValueError(
                f"pretrain.arms has {others}, which study.arms {list(chosen)} does not name: DVC would pretrain them; "
                "remove them, or let `dermflow use PRESET study.arms=[...]` write params.yaml"
            )
        return self

    @model_validator(mode="after")
    def _check_unpublished_data_have_a_secret_key(self) -> Self:
        for dataset in (self.dataset, *(cohort.dataset for cohort in self.external)):
            if self.privacy.key == "public" and not dataset.published:
                raise ValueError(
                    f"privacy.key is 'public', but {dataset.kind} data ({dataset.path}) are not a published data set: "
                    "set privacy.key: secret and make a key with `dermflow key`"
                )
        return self

    @model_validator(mode="after")
    def _check_cohorts(self) -> Self:
        names = [cohort.name for cohort in self.external]
        if len(set(names)) < len(names):
            raise ValueError(f"external has the names {names}, expected each name once")
        for cohort in self.external:
            cohort.mapping(self.labels)
        return self


def read_yaml(path: Path) -> object:
    """The content of a YAML file.

    Raises:
        SettingsError: where the file cannot be read or is not YAML; the message has line and column.
    """
    try:
        return YAML(typ="safe").load(path.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); run from the repository's root") from error
    except Exception as error:  # ruamel's scanner errors share no public base
        raise SettingsError(f"{path}: is not YAML: {error}") from error


def parse_settings(data: object, origin: str) -> Settings:
    """Settings from parsed YAML.

    Args:
        data: what `read_yaml` returns.
        origin: the file that messages name as the place to fix.

    Raises:
        SettingsError: with one line for each wrong value.
    """
    from pydantic import ValidationError

    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise explain(error, data, origin) from None


def load_settings(path: Path = PARAMS) -> Settings:
    """The settings of the active experiment.

    Raises:
        SettingsError: where the file is missing or broken, or a value is wrong.
    """
    return parse_settings(read_yaml(path), str(path))
