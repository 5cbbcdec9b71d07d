"""Which two images are brought together: twice the same one, or two of one lesion.

P pairs. Two photographs of a lesion differ in light, angle and scale as no random change does; as positive pairs they
gave 6.7 points in dermatology (Azizi et al. 2021, arXiv 2101.05224, "multi-instance contrastive learning").
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd

from components.models.encoder import Ints

Pairs: TypeAlias = Literal["image", "lesion"]


def draw_pairs(index: pd.DataFrame, pairs: Pairs, random: np.random.Generator) -> Ints:
    """Row numbers of the two images of each pair, (P, 2).

    `image`: each image with itself. `lesion`: one pair for each lesion, of two of its images without replacement, or of
    its only one with itself; so a lesion never is a negative example of itself, and each counts once.

    Args:
        index: `image_id` and `lesion_id`, one row an image; an image without a lesion counts as a lesion of its own.
        pairs: see above.
        random: draws the images of lesions with several.
    """
    if pairs == "image":
        return np.repeat(np.arange(len(index)), 2).reshape(-1, 2)
    lesions = _lesions(index)  # (N,)
    order = random.permutation(len(index))  # of a lesion's images, those that come first in it are the pair
    order = order[np.argsort(lesions[order], kind="stable")]
    starts = np.flatnonzero(np.diff(lesions[order], prepend=-1))  # (P,)
    sizes = np.diff(starts, append=len(order))
    return np.stack([order[starts], order[starts + (sizes > 1)]], axis=1)


def count_lesions_with_pairs(index: pd.DataFrame) -> int:
    """Lesions with two or more images."""
    return int((np.bincount(_lesions(index)) > 1).sum())


def _lesions(index: pd.DataFrame) -> np.ndarray[Any, np.dtype[np.int64]]:
    """A number from 0 for the lesion of each image, (N,)."""
    known = index["lesion_id"].notna() & (index["lesion_id"] != "")
    names = ("lesion " + index["lesion_id"].astype(str)).where(known, "image " + index["image_id"].astype(str))
    return np.asarray(names.factorize()[0], np.int64)
