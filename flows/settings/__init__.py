"""Every setting there is, with its meaning and unit: one class a section of params.yaml.

A stage takes the sections that its arguments name, whole. The sections stand here rather than in the stages'
files so that checking params.yaml imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, field_validator, model_validator
from ruamel.yaml import YAML

from components.base.config import Frozen, OneOf, explain
from components.base.errors import SettingsError
from components.data.adapters import Adapter
from components.models.backbone import Backbone
from components.pretraining import Method
from components.training.augment import Augment
from components.validation.expectations import Limits
from components.validation.quarantine import Admissible

PARAMS = Path("params.yaml")

Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0)]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


def _inside(path: Path) -> Path:
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("must be a relative path inside the repository")
    return path


Inside = Annotated[Path, AfterValidator(_inside)]


class Study(Frozen):
    """What is compared with what, and how often."""

    name: str = Field(min_length=1, description="stands in reports and in MLflow")
    arms: tuple[Word, ...] = Field(min_length=1, description="names under pretrain.arms")
    protocols: tuple[Literal["frozen", "full", "lpft"], ...] = Field(
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


class Synthesize(Frozen):
    """The embedded data set: dermoscopy-like drawings with known confounders."""

    lesions: int = Field(ge=0, description="labelled lesions; 0 draws nothing, for data sets of one's own")
    unlabelled: int = Field(ge=0, description="images without a diagnosis")
    image_size: int = Field(ge=32, le=2048, description="pixels, the shorter side")
    images_per_lesion: Annotated[float, Field(ge=1, le=6)] = Field(description="mean; at most 6")
    confounding: Share = Field(
        description="0: hair, ruler, vignette, gel are equally frequent in all classes; 1: only in some"
    )
    difficulty: Share = Field(description="0: classes are plainly different; 1: indistinguishable")
    seed: Seed


class Privacy(Frozen):
    """Ids of patients and lesions go on as keyed hashes alone."""

    key: Literal["public", "secret"] = Field(
        description="public: the key that everybody has, for published data sets; "
        "secret: of the file named by DERMFLOW_KEY_FILE, and image ids are hashed too"
    )


class Scan(Frozen):
    """Where images are looked at. Not part of a stage's freshness: the table is the same wherever it is made."""

    workers: PositiveInt = Field(description="processes on this host")
    cluster: str | None = Field(
        pattern=r"^[a-z]+://", description="address of a dask scheduler, such as tcp://host:8786; null: this host"
    )


class Cohort(Frozen):
    """An external test set: never learned from, and refused where it overlaps with what is."""

    name: Word
    dataset: Annotated[Adapter, OneOf("data.adapters")]
    diagnoses: Mapping[str, str | None] = Field(
        default={},
        description="its word: the one of labels.schemes that it means, null: such images are left out; "
        "words that labels.schemes has itself need none",
    )

    def mapping(self, labels: Labels) -> dict[str, str]:
        """Its diagnosis -> target class; raises ValueError for a meaning that no class has."""
        known = labels.mapping
        lost = {word: meaning for word, meaning in self.diagnoses.items() if meaning not in (None, *known)}
        if lost:
            raise ValueError(
                f"external {self.name}: diagnoses maps {lost}, expected some of {sorted(known)} "
                f"(labels.schemes.{labels.scheme}), or null for what is left out"
            )
        own = {word: known[meaning] for word, meaning in self.diagnoses.items() if meaning is not None}
        return {word: name for word, name in (known | own).items() if word not in self.left_out}

    @property
    def left_out(self) -> tuple[str, ...]:
        """The diagnoses that are no test of this study, on purpose."""
        return tuple(word for word, meaning in self.diagnoses.items() if meaning is None)


def choose(name: str, external: Sequence[Cohort]) -> Cohort:
    """The cohort of that name; SettingsError where there is none."""
    for cohort in external:
        if cohort.name == name:
            return cohort
    raise SettingsError(f"external (params.yaml) has no cohort {name!r}, only {[cohort.name for cohort in external]}")


class NearDuplicates(Frozen):
    """How near a copy of a picture must come to be proposed; pixels then decide."""

    distance: int = Field(ge=0, le=12, description="bits of 64 between perceptual hashes")
    crops: bool = Field(description="look for copies of a part of a picture, too")


class Validate(Frozen):
    """The acceptance of a data set."""

    max_quarantined_share: Share = Field(description="of all rows; above it the run stops")
    min_side: PositiveInt = Field(description="pixels; a shorter image is quarantined")
    min_groups_per_class: PositiveInt = Field(description="lesions or patients; fewer stop the run")
    max_missing_share: Share | None = Field(
        description="of rows, for age, sex and site each; null: they may be unknown"
    )
    admit: tuple[Admissible, ...] = Field(description="problems that all images may have, such as grey")
    near_duplicates: NearDuplicates
    reference: str | None = Field(
        min_length=1,
        description="the accepted version that this one is compared with: a git revision, or a validation.json's path",
    )
    limits: Limits


class Split(Frozen):
    """Who learns from what: no group crosses."""

    group_by: tuple[Literal["patient_id", "lesion_id"], ...] = Field(
        min_length=1, description="rows that share any of these stay together"
    )
    train: Annotated[float, Field(gt=0, lt=1)]
    val: Annotated[float, Field(gt=0, lt=1)]
    test: Annotated[float, Field(gt=0, lt=1)]
    folds: int | None = Field(
        default=None, ge=3, description="each image is tested in one of so many turns; null: by train, val and test"
    )
    fold: int = Field(default=0, ge=0, description="the turn: this fold is tested, the next is val")
    seed: Seed

    @model_validator(mode="after")
    def _is_one_of_the_folds(self) -> Self:
        if self.fold >= (self.folds or 1):
            there = f"split.folds is {self.folds}: 0 to {self.folds - 1}" if self.folds else "split.folds is null: 0"
            raise ValueError(f"split.fold is {self.fold}, expected, since {there}")
        return self

    @model_validator(mode="after")
    def _sums_to_one(self) -> Self:
        if abs(self.train + self.val + self.test - 1) > 1e-9:
            raise ValueError(
                f"split.train + split.val + split.test is {self.train + self.val + self.test:g}, expected 1"
            )
        return self


class Pack(Frozen):
    """Images decoded and resized once."""

    image_size: PositiveInt = Field(ge=16, le=1024, description="pixels, square")
    fit: Literal["crop", "pad"] = Field(description="crop: centre square; pad: whole image on black")


class Pretrain(Frozen):
    """The arms: how each encoder gets its weights."""

    seed: Seed
    arms: dict[Word, Annotated[Method, OneOf("pretraining")]]


class Schedule(Frozen):
    """How long and how fast one protocol learns."""

    epochs: PositiveInt
    learning_rate: PositiveFloat = Field(description="peak, of AdamW")


class HeadFirst(Frozen):
    """The protocol lpft: linear probing, then fine-tuning from the best probe (Kumar et al. 2022)."""

    head: Schedule = Field(description="the head alone, on the frozen encoder")
    full: Schedule = Field(description="then all; warm-up and decay begin anew")


class Head(Frozen):
    """The classifier on top, identical for every arm: BatchNorm, Linear, GELU, dropout, Linear."""

    hidden: PositiveInt = Field(description="units of the hidden layer")
    dropout: Annotated[float, Field(ge=0, lt=1)]


class Finetune(Frozen):
    """The identical classification conditions."""

    frozen: Schedule
    full: Schedule
    lpft: HeadFirst
    batch_size: PositiveInt
    weight_decay: float = Field(ge=0)
    warm_up: Share = Field(description="of all steps, over which the learning rate rises to its peak")
    decay: Literal["cosine", "constant"] = Field(description="of the learning rate after the warm-up")
    clip: PositiveFloat | None = Field(description="L2 norm to which a longer gradient is shortened; null: none is")
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        description="decay a step of the weights' moving average, which is then what is measured and kept; null: none"
    )
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="share of each target spread over all classes"
    )
    head: Head
    imbalance: Literal["none", "weights", "sampling", "focal"] = Field(
        description="weights: inverse frequency in the loss; sampling: classes equally often; focal: Lin et al. 2017"
    )
    focal_gamma: float = Field(ge=0, description="of the focal loss alone")
    monitor: Literal["loss", "accuracy", "balanced_accuracy"] = Field(description="on val; chooses the best epoch")
    patience: PositiveInt = Field(description="epochs without a better value before it stops")
    views: Annotated[int, Field(ge=0)] | None = Field(
        description="encoder frozen: augmented views an image whose features are computed once, and which epochs go "
        "through in turn; 0: the images as they are; null: a new view each epoch, each through the encoder"
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        description="encoder learns: factor of the learning rate a block further from the head; 1: all alike"
    )
    freeze: int = Field(ge=0, description="encoder learns: its stem and so many first stages do not")
    drop_path: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        description="encoder learns: share of dropped residual branches in the last block; null: as the net was built"
    )
    mixup: float = Field(ge=0, description="encoder learns: alpha of Beta; 0: none")
    cutmix: float = Field(ge=0, description="encoder learns: alpha of Beta; 0: none; with mixup one of both at a step")


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


class Efficiency(Frozen):
    """Learning curves over the number of train lesions: which points, and what is kept equal."""

    shares: tuple[OpenShare, ...] = Field(description="of the train lesions, rising; all of them is the study itself")
    protocols: tuple[Literal["frozen", "full", "lpft"], ...] = Field(
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
    efficiency: Efficiency
    explain: Explain
    robustness: Robustness

    @model_validator(mode="after")
    def _learning_curves_end_in_the_study(self) -> Self:
        asked = self.efficiency
        for name in ("shares", "seeds"):
            if asked.protocols and not getattr(asked, name):
                raise ValueError(
                    f"efficiency.protocols asks for {list(asked.protocols)}, but efficiency.{name} is empty"
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
        for arm in self.study.arms:
            if arm not in self.pretrain.arms:
                raise ValueError(f"study.arms names {arm!r}, pretrain.arms has {sorted(self.pretrain.arms)}")
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
