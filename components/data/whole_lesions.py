"""A sample of images in whole lesions, which keeps rare classes.

Letters: N images.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from components.base.errors import SettingsError

Array = np.ndarray[Any, np.dtype[Any]]


def sample_images(labels: Array, groups: Array, limit: int | None, seed: int, *, setting: str) -> Array:
    """Draw whole lesions of at most `limit` images in total.

    Lesions are drawn from the classes in turn, so that rare classes are kept whole: the error of balanced accuracy is
    dominated by the rarest class. A lesion that no longer fits is skipped.

    Args:
        labels: (N,) class index of each image.
        groups: (N,) lesion or patient of each image.
        limit: images; None takes all.
        seed: of the draw.
        setting: what gives `limit` and where it is set, for the error.

    Returns:
        Row numbers in increasing order.

    Raises:
        SettingsError: where `limit` is below the size of the smallest lesion.
    """
    if limit is None or len(labels) <= limit:
        return np.arange(len(labels))
    rng = np.random.default_rng([seed, 0x0B])
    names, first, member = np.unique(groups, return_index=True, return_inverse=True)
    sizes, group_labels = np.bincount(member), labels[first]
    if limit < sizes.min():
        raise SettingsError(
            f"{setting} is {limit}, but every lesion of the {len(labels)} images has "
            f"{sizes.min()} images or more, and lesions stay whole: expected at least {sizes.min()}, or null for all"
        )
    turns = np.empty(len(names))
    for k in np.unique(group_labels):
        rows = np.flatnonzero(group_labels == k)
        turns[rows] = rng.permutation(len(rows)) + rng.random()  # a class's place in each turn
    kept, left = np.zeros(len(names), bool), limit
    for group in np.argsort(turns, kind="stable"):
        if sizes[group] <= left:
            kept[group], left = True, left - sizes[group]
    return np.flatnonzero(kept[member])
