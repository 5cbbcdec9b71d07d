"""Which images a model has seen: hashes of ids of its train and val images, in the bundle's file `trained_on.json`.

A lesion that one model was trained on is no test for it. With these hashes two models that were trained on different
splits can be tested on lesions that neither has seen. Ids are pseudonyms already where data are private.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.base.errors import CheckpointError

LENGTH = 16
"""Hexadecimal digits kept of a sha256: 64 bits, so that two ids among a million share one with probability 3e-8."""


def hash_ids(index: pd.DataFrame) -> frozenset[str]:
    """Hashes of all ids of images.

    Args:
        index: with image_id, lesion_id (may be null) and group, which is the smallest image_id of images that share a
            patient, a lesion or their content.
    """
    images = {_hash("image", each) for column in ("image_id", "group") for each in index[column].dropna()}
    return frozenset(images | {_hash("lesion", each) for each in index["lesion_id"].dropna()})


def as_text(hashes: Iterable[str]) -> str:
    """The content of `trained_on.json`: equal sets give equal bytes."""
    return json.dumps(sorted(hashes)) + "\n"


def read_hashes(path: Path) -> frozenset[str]:
    """The hashes of a file that `as_text` made.

    Raises:
        CheckpointError: where it holds anything else.
    """
    found = json.loads(path.read_text("utf-8"))
    if not isinstance(found, list) or not all(isinstance(each, str) and len(each) == LENGTH for each in found):
        raise CheckpointError(
            f"{path}: is no list of hashes of {LENGTH} digits; make the bundle again (dvc repro bundle)"
        )
    return frozenset(found)


def seen(index: pd.DataFrame, hashes: frozenset[str]) -> npt.NDArray[np.bool_]:
    """(N,) whether a model has seen an image, or another image of its group.

    Args:
        index: of `hash_ids`, N rows.
        hashes: of the images that the model has seen.
    """
    own = np.array([_is_seen(row, hashes) for row in index.itertuples(index=False)], dtype=bool)
    groups = set(index["group"][own])
    return np.asarray(index["group"].isin(groups), dtype=bool)


def _is_seen(row: Any, hashes: frozenset[str]) -> bool:
    names = [_hash("image", row.image_id), _hash("image", row.group)]
    if not pd.isna(row.lesion_id):
        names.append(_hash("lesion", row.lesion_id))
    return not hashes.isdisjoint(names)


def _hash(kind: str, name: object) -> str:
    return hashlib.sha256(f"{kind}:{name}".encode()).hexdigest()[:LENGTH]
