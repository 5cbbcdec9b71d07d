"""One fold of a cross-validation: the whole study in a clone of this checkout, and of it what pooling needs."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import product
from typing import Any

from components.base.errors import SettingsError
from components.base.run_id import RunId
from components.clinical.settings import Clinical
from components.comparison.settings import Compare, Evaluate
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.models.backbone import Backbone
from components.training.settings import Augment, Finetune
from components.validation.settings import Validate
from flows.cross_validation.repeat import repeat_study
from flows.settings.data import Cohort, Pack, Privacy, Split, Synthesize
from flows.settings.study import CrossValidation, Paths, Study
from flows.settings.training import Pretrain
from flows.stage import stage
from flows.stage_io.files import existing, read_json
from flows.stage_io.runs import files_of
from flows.tracking.mlflow_log import RunLog


@stage
def fold(
    fold: int,
    cross_validation: CrossValidation,
    study: Study,
    dataset: Adapter,
    privacy: Privacy,
    labels: Labels,
    synthesize: Synthesize,
    validate: Validate,
    split: Split,
    pack: Pack,
    augment: Augment,
    backbone: Backbone,
    pretrain: Pretrain,
    finetune: Finetune,
    evaluate: Evaluate,
    compare: Compare,
    clinical: Clinical,
    external: Sequence[Cohort],
    paths: Paths,
    log: RunLog,
) -> dict[str, Any]:
    """Run the study with this fold as test; return the metrics of its own comparison.

    Its files keep their places, below the folder `<paths.folds>/FOLD`.
    """
    del dataset, privacy, labels, synthesize, validate, split, pack, augment, backbone, pretrain, finetune, evaluate
    del compare, clinical, external  # the stages in the clone read them from its params.yaml
    if not cross_validation.folds:
        raise SettingsError(
            f"cross_validation.folds is null (params.yaml), expected more than {fold}: `dermflow crossvalidate` sets it"
        )
    theirs = paths.below(repeat_study(cross_validation.folds, fold, log))
    ours = paths.below(paths.folds / str(fold))
    runs = [RunId(*names) for names in product(study.arms, study.protocols, study.seeds)]
    expected = "what the study of this fold wrote; dvc repro fold makes it"
    for source, target in [
        (theirs.split, ours.split),
        (theirs.metrics / "evaluate.json", ours.metrics / "evaluate.json"),
        *(pair for run in runs for pair in zip(files_of(run, theirs), files_of(run, ours), strict=True)),
    ]:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(existing(source, expected), target)
    return read_json(theirs.metrics / "compare.json")


if __name__ == "__main__":
    fold.main()
