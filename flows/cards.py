"""Fill model card and data sheet from the run's own files, as Markdown and as pages."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel
from safetensors import SafetensorError, safe_open

from components.base.errors import DataError
from components.base.log import Log
from components.cards import data_sheet, model_card
from components.cards.data_sheet import Dataset
from components.cards.model_card import Model, Weights
from components.cards.page import as_page, unsaid
from components.data.adapters import Adapter
from components.data.labels import Labels
from components.training.augment import Augment
from flows.settings.analysis import Cards as CardSettings
from flows.settings.analysis import Clinical
from flows.settings.data import Pack, Privacy
from flows.settings.data import Split as SplitSettings
from flows.settings.study import Paths, Study
from flows.settings.training import Finetune
from flows.stage import stage
from flows.stage_io.files import read_json, write_text

PROJECT = Path("pyproject.toml")
BUFFERS = ("running_mean", "running_var", "num_batches_tracked")  # of BatchNorm: counted, not learned
PROTOCOLS = ("frozen", "full", "lpft")


@stage
def cards(
    study: Study,
    dataset: Adapter,
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
    """Write model_card and data_sheet, .md and .html; return how much of them a person has yet to say."""
    said = cards.model_dump()
    model = _read_model(dataset, augment, finetune, paths)
    sheet = _read_dataset(study, dataset, privacy, labels, split, pack, clinical, paths)
    texts = {
        "model_card": ("Model card", model_card.write(model, said)),
        "data_sheet": ("Data sheet", data_sheet.write(sheet, said)),
    }
    for name, (kind, text) in texts.items():
        _write(paths.reports / f"{name}.md", text, log)
        _write(paths.reports / f"{name}.html", as_page(text, kind, sheet.synthetic), log)
    missing = unsaid(said)
    rest = f"; not stated yet (cards, params.yaml): {', '.join(missing)}" if missing else ""
    log.line(f"Look at {paths.reports / 'model_card.html'}{rest}")
    return {"not_stated": len(missing)}


def _read_model(dataset: Adapter, augment: Augment, finetune: Finetune, paths: Paths) -> Model:
    """Everything of the model that val chose."""
    comparison = read_json(paths.reports / "comparison.json")
    run = comparison["recommendation"]["run"]
    weights = _read_weights(run, paths)
    measured = read_json(paths.metrics / "evaluate.json")
    if run not in measured:
        raise DataError(f"{paths.metrics / 'evaluate.json'} lacks {run}, which compare chose; dvc repro evaluate")
    protocol = run.split("-")[-2]
    return Model(
        comparison=comparison,
        clinical=read_json(paths.reports / "clinical.json"),
        measured=measured[run],
        finetuned=read_json(paths.metrics / "finetune" / f"{run}.json"),
        pretrained=read_json(paths.metrics / "pretrain" / f"{weights.encoder['arm']}.json"),
        packed=read_json(paths.metrics / "pack.json"),
        split=read_json(paths.metrics / "split.json"),
        validation=read_json(paths.metrics / "validation.json"),
        weights=weights,
        settings=_training(weights, finetune, augment, protocol),
        dataset=dataset.kind,
        version=_version(),
    )


def _read_dataset(
    study: Study,
    dataset: Adapter,
    privacy: Privacy,
    labels: Labels,
    split: SplitSettings,
    pack: Pack,
    clinical: Clinical,
    paths: Paths,
) -> Dataset:
    return Dataset(
        kind=dataset.kind,
        published=dataset.published,
        key=privacy.key,
        images=_read_images(paths),
        ingested=read_json(paths.metrics / "ingest.json"),
        validation=read_json(paths.metrics / "validation.json"),
        split=read_json(paths.metrics / "split.json"),
        packed=read_json(paths.metrics / "pack.json"),
        mapping=labels.schemes[labels.scheme],
        group_by=split.group_by,
        folds=split.folds,
        fit=pack.fit,
        ages=clinical.ages,
        least=clinical.least_groups,
        synthetic=dataset.kind == "synthetic",
        study=study.name,
        version=_version(),
    )


def _read_images(paths: Paths) -> pd.DataFrame:
    """Accepted rows with their group and split."""
    split = pd.read_csv(paths.split, dtype="str", keep_default_na=False, na_values=[""])
    accepted = pd.read_parquet(paths.accepted).drop(columns="label")
    return accepted.merge(split, on="image_id", validate="one_to_one")


def _read_weights(run: str, paths: Paths) -> Weights:
    file = paths.classifiers / f"{run}.safetensors"
    classifier, parameters = _read_header(file)
    arm = run.rsplit("-", 2)[0]
    encoder, _ = _read_header(paths.encoders / f"{arm}.safetensors")
    with file.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return Weights(classifier, encoder, sha256, parameters)


def _read_header(file: Path) -> tuple[dict[str, Any], int]:
    """What a file of weights says of itself, and how many numbers in it were learned; no tensor is read."""
    try:
        with safe_open(file, framework="np") as tensors:
            header: dict[str, Any] = json.loads((tensors.metadata() or {})["dermflow"])
            learned = [name for name in tensors.keys() if not name.endswith(BUFFERS)]  # noqa: SIM118  # no iterator
            sizes = [prod(tensors.get_slice(name).get_shape()) for name in learned]
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise DataError(f"{file}: is no file of Dermflow's weights ({error}); dvc repro makes it") from error
    return header, sum(sizes)


def _training(weights: Weights, finetune: Finetune, augment: Augment, protocol: str) -> dict[str, object]:
    """Settings by their keys in params.yaml; those of the arm as its encoder's file has them."""
    others = {f"finetune.{name}" for name in PROTOCOLS if name != protocol}
    found = {**_flat(finetune, "finetune"), **_flat(augment, "augment")}
    own = _flat(weights.encoder["settings"], f"pretrain.arms.{weights.encoder['arm']}")
    kept = {key: value for key, value in found.items() if not any(key.startswith(f"{each}.") for each in others)}
    return {**own, **kept}


def _flat(value: BaseModel | Mapping[str, Any], prefix: str) -> dict[str, object]:
    """Dotted keys to values as YAML has them."""
    content = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    found: dict[str, object] = {}
    for key, item in content.items():
        name = f"{prefix}.{key}"
        text = item if isinstance(item, str) else json.dumps(item)
        found |= _flat(item, name) if isinstance(item, Mapping) else {name: text}
    return found


def _version() -> str:
    """Dermflow's, as the checkout has it."""
    return str(tomllib.loads(PROJECT.read_text())["project"]["version"])


def _write(path: Path, text: str, log: Log) -> None:
    write_text(path, text)
    log.artifact(path, "report")


if __name__ == "__main__":
    cards.main()
