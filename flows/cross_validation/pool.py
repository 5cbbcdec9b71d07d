"""`dermflow crossvalidate pool`: read the folds, check that they are one study, and write the pooled result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from components.base.errors import RunError
from components.base.keys import flat_keys
from components.cross_validation.analysis import pool_folds
from components.cross_validation.folds import RERUN, Fold
from components.cross_validation.page import draw_figures, render
from components.cross_validation.record import as_metrics, as_record
from components.cross_validation.sentences import summary
from flows.cross_validation.workspace import FOLDS, fold_root, present_folds
from flows.orchestration.freshness import PACKAGES
from flows.orchestration.graph import changed_stages
from flows.reproduction.compare_runs import hashes, read_lock
from flows.reproduction.differences import differing_values
from flows.settings import PARAMS, Settings, load_settings
from flows.settings.study import Paths
from flows.stage_io.files import read_json
from flows.stage_io.priors import read_priors
from flows.stage_io.publish import publish
from flows.stage_io.question import build_question
from flows.stage_io.runs import read_complete_runs
from flows.stage_io.split_table import read_split
from flows.tracking.lineage import LOCK
from flows.tracking.mlflow_log import RunLog, recorded_run

STAGE = "crossvalidate"  # the tag `stage` of the MLflow run

TARGET = "compare"
"""The last stage of a fold."""

PAGE = "crossvalidation"
"""Name of page and record in the folder of reports."""

SAME = (
    "study", "dataset", "privacy", "labels", "synthesize", "validate_", "split", "pack", "augment", "backbone",
    "pretrain", "finetune", "evaluate",
)  # fmt: skip
"""Sections of params.yaml that must be equal in all folds and in this checkout."""

DIFFERS = ("split.fold", "split.folds", "dataset.path")
"""Settings in them that may differ: the path is absolute in a clone, and the data are compared by their md5."""


def pool() -> list[str]:
    """Pool the folds of this checkout in an MLflow run of its own; the answer in lines."""
    settings = load_settings()
    with recorded_run(settings, f"{STAGE} {settings.study.name}", {"stage": STAGE}) as log:
        return log_pooled(settings, Path.cwd(), log)


def log_pooled(settings: Settings, repo: Path, log: RunLog) -> list[str]:
    """Pool the folds, write page and record, log both, and return the answer in lines.

    Args:
        settings: of this checkout.
        repo: this checkout.
        log: the MLflow run.

    Raises:
        RunError: where a fold is missing or stale, or was made with other settings, code or data.
        DataError: where the folds do not test every labelled image once.
    """
    roots = check_checkouts(settings, repo)
    first = _paths(settings, roots[0])
    read = read_json(first.metrics / "ingest.json")["read"]
    question = build_question(settings.study, settings.dataset, settings.labels, settings.compare, read)
    folds = [read_fold(settings, number, root) for number, root in enumerate(roots)]
    result = pool_folds(folds, question, _labelled(first, settings), log)
    lines = summary(result)
    figures = draw_figures(result)
    publish(
        settings.paths.reports,
        PAGE,
        record=as_record(result),
        page=render(result, figures),
        figures=figures,
        lines=lines,
        log=log,
    )
    log.metrics(as_metrics(result))
    log.tags({"verdict": " ".join(lines)})
    return lines


def read_fold(settings: Settings, number: int, root: Path) -> Fold:
    """A fold's runs, priors and number of train lesions, from the files of its clone."""
    paths = _paths(settings, root)
    split = read_split(paths.split)
    train = split.loc[split["split"] == "train", "group"].nunique()
    runs = read_complete_runs(settings.study, paths)
    return Fold(number, runs, read_priors(paths, settings.labels, settings.finetune), int(train))


def _labelled(paths: Paths, settings: Settings) -> list[str]:
    """The accepted images with a label."""
    accepted = pd.read_parquet(paths.accepted, columns=["image_id", "label"])
    return list(accepted.loc[accepted["label"].isin(settings.labels.classes), "image_id"])


def _paths(settings: Settings, root: Path) -> Paths:
    """The paths of a clone, absolute."""
    return settings.paths.model_copy(update={name: root / getattr(settings.paths, name) for name in Paths.model_fields})


def check_checkouts(settings: Settings, repo: Path) -> list[Path]:
    """The clones of all folds by number, checked to be up to date and of the same settings, code and data.

    Raises:
        RunError: names the fold and what differs.
    """
    present = present_folds(repo)
    count = _own_settings(fold_root(repo, present[0])).split.folds if present else None
    missing = sorted(set(range(count or 1)) - set(present))
    if missing:
        of = f" of {count}" if count else ""
        raise RunError(f"fold {missing[0]}{of} is missing in {repo / FOLDS}; dermflow crossvalidate run makes it")
    roots = [fold_root(repo, fold) for fold in present]
    wanted = _comparable(settings)
    for fold, root in zip(present, roots, strict=True):
        own = _own_settings(root)
        if (own.split.folds, own.split.fold) != (count, fold):
            raise RunError(f"fold {fold}: its {PARAMS} has fold {own.split.fold} of {own.split.folds}; {RERUN}")
        found = differing_values(wanted, _comparable(own))
        if found:
            each = found[0]
            raise RunError(
                f"fold {fold} was made with other settings: {each.name} was {each.now}, and is {each.then} in this "
                f"checkout's {PARAMS} ({len(found)} differ); {RERUN}"
            )
        if changed := changed_stages(root, TARGET):
            raise RunError(f"fold {fold}: {', '.join(changed[:3])} not up to date ({len(changed)} stages); {RERUN}")
    check_same_code_and_data(roots, settings.paths.accepted)
    return roots


def _own_settings(root: Path) -> Settings:
    return load_settings(root / PARAMS)


def _comparable(settings: Settings) -> dict[str, Any]:
    sections = settings.model_dump(mode="json", by_alias=True, include=set(SAME))
    return {key: value for key, value in flat_keys(sections, ".").items() if key not in DIFFERS}


def check_same_code_and_data(roots: Sequence[Path], accepted: Path) -> None:
    """By the md5s that DVC recorded in each clone: code of every stage, and the table of accepted images.

    Raises:
        RunError: names the two folds and the first file.
    """
    found = [_recorded(root, accepted) for root in roots]
    for root, recorded in zip(roots, found, strict=True):
        different = sorted(
            path for path in found[0].keys() | recorded.keys() if found[0].get(path) != recorded.get(path)
        )
        if different:
            raise RunError(
                f"folds {roots[0].name} and {root.name} were made with other code or data: {different[0]} differs "
                f"({len(different)} files); {RERUN}"
            )


def _recorded(root: Path, accepted: Path) -> Mapping[str, str]:
    entries = read_lock(root / LOCK).values()
    code = chain.from_iterable(hashes(entry, "deps").items() for entry in entries)
    data = chain.from_iterable(hashes(entry, "outs").items() for entry in entries)
    prefixes = tuple(f"{name}/" for name in PACKAGES)
    return {
        **{path: md5 for path, md5 in code if path.startswith(prefixes)},
        **{path: md5 for path, md5 in data if path == str(accepted)},
    }
