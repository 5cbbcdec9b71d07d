"""Fill model card and data sheet from the run's own files, as Markdown and as pages."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel

from components.base.errors import DataError
from components.base.files import file_sha256, write_text
from components.base.log import Log
from components.base.run_id import FinetuneProtocol, RunId
from components.cards import data_sheet, model_card
from components.cards.data_sheet import DataRecords
from components.cards.model_card import ModelRecords, WeightsRecords
from components.cards.page import as_page, missing_statements
from components.cards.settings import CardSettings
from components.clinical.settings import Clinical
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.models.weights_file import count_parameters, read_header
from components.training.settings import Augment, Finetune
from flows.settings.data import Cohort, Pack, Privacy
from flows.settings.data import Split as SplitSettings
from flows.settings.study import Paths, Study
from flows.stage import stage
from flows.stage_io.external_results import read_external
from flows.stage_io.files import read_json
from flows.stage_io.pages import DIGITS, write_page
from flows.stage_io.split_table import read_split
from flows.stage_io.version import read_version


@stage
def cards(
    study: Study,
    dataset: Adapter,
    external: Sequence[Cohort],
    privacy: Privacy,
    labels: Labels,
    split: SplitSettings,
    pack: Pack,
    augment: Augment,
    finetune: Finetune,
    clinical: Clinical,
    cards: CardSettings,
    paths: Paths,
    log: Log,
) -> dict[str, int]:
    """Write model_card and data_sheet, .md and .html; return the number of statements that a person has yet to make."""
    model = _read_model(dataset, external, augment, finetune, paths)
    sheet = DataRecords(
        licence=dataset.licence,
        published=dataset.published,
        key=privacy.key,
        images=_read_images(paths),
        ingested=read_json(paths.metrics / "ingest.json"),
        validation=model.validation,
        split=read_json(paths.metrics / "split.json"),
        packed=model.packed,
        mapping=labels.schemes[labels.scheme],
        group_by=split.group_by,
        folds=split.folds,
        fit=pack.fit,
        ages=clinical.ages,
        least=clinical.least_groups,
        synthetic=model.comparison["plan"]["synthetic"],
        study=study.name,
        version=model.version,
    )
    texts = {
        "model_card": ("Model card", model_card.write(model, cards)),
        "data_sheet": ("Data sheet", data_sheet.write(sheet, cards)),
    }
    for name, (kind, text) in texts.items():
        _write(paths.reports / f"{name}.md", text, log)
        weights = f"{model.run}, weights sha256 {model.weights.sha256[:DIGITS]}"
        page = as_page(text, kind, sheet.synthetic)
        write_page(paths.reports / f"{name}.html", page, log, model=weights, version=model.version)
    missing = missing_statements(cards)
    rest = f"; not stated yet (cards, params.yaml): {', '.join(missing)}" if missing else ""
    log.line(f"Look at {paths.reports / 'model_card.html'}{rest}")
    return {"not_stated": len(missing)}


def _read_model(
    dataset: Adapter, external: Sequence[Cohort], augment: Augment, finetune: Finetune, paths: Paths
) -> ModelRecords:
    """The records of the run that compare recommends."""
    comparison = read_json(paths.reports / "comparison.json")
    run = RunId.parse(comparison["recommendation"]["run"])
    weights = _read_weights(run, paths)
    measured = read_json(paths.metrics / "evaluate.json")
    if str(run) not in measured:
        raise DataError(f"{paths.metrics / 'evaluate.json'} lacks {run}, which compare chose; dvc repro evaluate")
    return ModelRecords(
        run=run,
        comparison=comparison,
        clinical=read_json(paths.reports / "clinical.json"),
        measured=measured[str(run)],
        finetuned=read_json(paths.metrics / "finetune" / f"{run}.json"),
        pretrained=read_json(paths.metrics / "pretrain" / f"{run.encoder}.json"),
        packed=read_json(paths.metrics / "pack.json"),
        validation=read_json(paths.metrics / "validation.json"),
        weights=weights,
        settings=_training_settings(weights, finetune, augment, run.protocol),
        dataset=dataset.kind,
        licence=dataset.licence,
        version=read_version(),
        external=read_external(external, paths),
    )


def _read_images(paths: Paths) -> pd.DataFrame:
    """Accepted rows with their group and split."""
    split = read_split(paths.split)
    accepted = pd.read_parquet(paths.accepted).drop(columns="label")
    return accepted.merge(split, on="image_id", validate="one_to_one")


def _read_weights(run: RunId, paths: Paths) -> WeightsRecords:
    file = paths.classifiers / f"{run}.safetensors"
    classifier, encoder = read_header(file), read_header(paths.encoders / f"{run.encoder}.safetensors")
    return WeightsRecords(classifier, encoder, file_sha256(file), count_parameters(file))


def _training_settings(
    weights: WeightsRecords, finetune: Finetune, augment: Augment, protocol: FinetuneProtocol
) -> dict[str, object]:
    """Settings by their keys in params.yaml, without other protocols; those of the arm from its encoder's file."""
    others = tuple(f"finetune.{other}." for other in FinetuneProtocol if other != protocol)
    found = {**_flat(finetune, "finetune"), **_flat(augment, "augment")}
    own = _flat(weights.encoder["settings"], f"pretrain.arms.{weights.encoder['arm']}")
    return {**own, **{key: value for key, value in found.items() if not key.startswith(others)}}


def _flat(value: BaseModel | Mapping[str, Any], prefix: str) -> dict[str, object]:
    """Dotted keys to values as JSON text."""
    content = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    found: dict[str, object] = {}
    for key, item in content.items():
        name = f"{prefix}.{key}"
        text = item if isinstance(item, str) else json.dumps(item)
        found |= _flat(item, name) if isinstance(item, Mapping) else {name: text}
    return found


def _write(path: Path, text: str, log: Log) -> None:
    write_text(path, text)
    log.artifact(path, "report")


if __name__ == "__main__":
    cards.main()
