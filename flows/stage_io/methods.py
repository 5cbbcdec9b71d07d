"""What the stage `method` writes of an arm, and the check that its pretraining uses the same code.

DVC fills in no template within a template, so the deps of `pretrain@ARM-SEED` cannot name the folder of the arm's
method. They name the file of `method@ARM`, which holds the hash of that folder.
"""

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from typing import Any

from components.base.errors import DataError, SettingsError
from components.pretraining import Method
from flows.settings.study import Paths
from flows.settings.training import Pretrain
from flows.stage_io.files import existing, read_json


def choose_method(arm: str, pretrain: Pretrain) -> Method:
    """The arm's method; SettingsError where no arm has this name."""
    if arm not in pretrain.arms:
        raise SettingsError(f"arm {arm!r} is none of pretrain.arms {sorted(pretrain.arms)} (params.yaml)")
    return pretrain.arms[arm]


def describe_method(arm: str, method: Method) -> dict[str, Any]:
    """The arm's method: its kind, its settings, and the sha256 of its code."""
    settings = method.model_dump(mode="json")
    return {"arm": arm, "kind": method.kind, "settings": settings, "sha256": _source_sha256(method)}


def check_method(arm: str, method: Method, paths: Paths) -> None:
    """Refuse to pretrain with another method than the one that `method@ARM` recorded: DVC would not see the change.

    Raises:
        DataError: where the record is missing or differs.
    """
    path = existing(paths.metrics / "method" / f"{arm}.json", f"what {arm} is pretrained with; dvc repro method@{arm}")
    recorded, now = read_json(path), describe_method(arm, method)
    if changed := [key for key, value in now.items() if recorded.get(key) != value]:
        raise DataError(
            f"{path}: {', '.join(changed)} of arm {arm} changed since; expected the present settings and the present "
            f"code of components/pretraining/{method.kind}: dvc repro method@{arm}"
        )


def _source_sha256(method: Method) -> str:
    """Of the names and contents of all files in the method's folder, except what Python compiles."""
    folder = Path(inspect.getfile(type(method))).parent
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
        name, content = file.relative_to(folder).as_posix(), file.read_bytes()
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
