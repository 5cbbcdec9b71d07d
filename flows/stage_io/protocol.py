"""The files of the locked protocol and of the openings of test images: tracked by git, outputs of no stage.

`dermflow lock` writes the one, and `evaluate` appends to the other, so that repeating a stage deletes neither.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import asdict, astuple, fields
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pandas as pd
from ruamel.yaml import YAML

from components.base.errors import DataError
from components.base.files import write_text
from components.comparison.protocol import Lock, Opening, Standing, describe_protocol, standing
from flows.settings.study import Study

LOCK = Path("protocol.lock.yaml")
OPENINGS = Path("test_openings.csv")
SECTIONS = (
    "study", "labels", "split", "augment", "backbone", "pretrain", "finetune", "compare", "clinical", "external",
)  # fmt: skip
"""Sections of params.yaml that the protocol fixes."""

HEAD = "# The locked protocol: written by `dermflow lock`, read by `compare`; see docs/methods.md. Do not edit.\n"


def read_lock() -> Lock | None:
    """The locked protocol; None where none is.

    Raises:
        DataError: where the file is no such record.
    """
    if not LOCK.is_file():
        return None
    try:
        locked = YAML(typ="safe").load(LOCK.read_text("utf-8"))["locked"]
        return None if locked is None else Lock(**locked)
    except Exception as error:  # of YAML, of keys, of fields: all mean the same
        raise DataError(f"{LOCK} cannot be read ({error}), expected what `dermflow lock` writes; restore it") from error


def write_lock(lock: Lock) -> None:
    """Replace the file."""
    text = StringIO()
    YAML().dump({"locked": asdict(lock)}, text)
    write_text(LOCK, HEAD + text.getvalue())


def read_openings() -> list[Opening]:
    """All openings of test images, in their order.

    Raises:
        DataError: where the file has other columns.
    """
    if not OPENINGS.is_file():
        return []
    with OPENINGS.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    expected = [each.name for each in fields(Opening)]
    wrong = [number for number, row in enumerate(rows, start=1) if len(row) != len(expected)]
    if not rows or rows[0] != expected or wrong:
        raise DataError(
            f"{OPENINGS}: expected the columns {expected} in each line, wrong in {wrong or [1]}; restore it"
        )
    return [Opening(*row) for row in rows[1:]]


def count_opening(images: str, models: str, what: str) -> None:
    """Append an opening of test images, where these models were not yet measured on them; a missing file is begun."""
    if any((each.images, each.models) == (images, models) for each in read_openings()):
        return
    if not OPENINGS.is_file():
        write_text(OPENINGS, ",".join(each.name for each in fields(Opening)) + "\n")
    opening = Opening(datetime.now(UTC).isoformat(timespec="seconds"), images, models, what)
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerow(astuple(opening))
    with OPENINGS.open("a", encoding="utf-8", newline="") as file:
        file.write(text.getvalue())


def models_sha256(tables: Mapping[str, pd.DataFrame]) -> str:
    """Hash of a study's models by the classes that they predict for test images: the same on another machine.

    Args:
        tables: predictions by run, with the columns image_id, split and p_CLASS.
    """
    digest = hashlib.sha256()
    for run in sorted(tables):
        test = tables[run][tables[run]["split"] == "test"].sort_values("image_id")
        probabilities = test[[name for name in test if str(name).startswith("p_")]].to_numpy()
        digest.update(f"{run} {probabilities.argmax(axis=1).tolist()}\n".encode())
    return digest.hexdigest()


def describe_models(study: Study) -> str:
    """`18 models: vae, imagenet, random; frozen, full; seeds 0, 1, 2`."""
    count = len(study.arms) * len(study.protocols) * len(study.seeds)
    parts = (study.arms, study.protocols, ("seeds " + ", ".join(map(str, study.seeds)),))
    return f"{count} models: {'; '.join(', '.join(map(str, part)) for part in parts)}"


def read_standing(sections: Mapping[str, object], images: str, models: str) -> Standing:
    """Whether the study is confirmatory.

    Args:
        sections: of params.yaml, those of SECTIONS by name.
        images: hash of the test images.
        models: hash of the models.
    """
    settings = describe_protocol({name: sections[name] for name in SECTIONS})
    return standing(read_lock(), settings, images, models, read_openings())
