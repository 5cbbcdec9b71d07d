"""Proof that a split, or an external test set, lets no image of one person or lesion be on two sides.

It reads the finished tables and shares no code with the splitting, so that it also finds errors of the splitting.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from components.base.errors import LeakError
from components.data.records import CONTENT, USED_SPLITS

IDENTITIES = {
    "patient_id": "patient",
    "lesion_id": "lesion",
    "sha256": "image content",
    "twins": "near-duplicate of",
}
"""Column -> its name in messages; no value may be on two sides."""


def prove_no_leak(table: pd.DataFrame, accepted: pd.DataFrame, group_by: Sequence[str]) -> None:
    """Check a split, however it was made: no patient, lesion, image or near-duplicate is on two sides.

    Unlabelled images are used in pretraining, so they count as train; withheld images are used nowhere.

    Args:
        table: the split, with image_id and split.
        accepted: with the columns of Accepted.
        group_by: setting split.group_by, for the message.

    Raises:
        LeakError: with one of the images on each side, and the setting to fix.
    """
    known = accepted.assign(side=accepted["image_id"].map(table.set_index("image_id")["split"]))
    known = known[known["side"].isin(USED_SPLITS)].sort_values("image_id", kind="stable")  # withheld are used nowhere
    for column, noun in IDENTITIES.items():
        crossing = _crossing(known[column], known["side"])
        if crossing.any():
            raise LeakError(_leak(noun, known[crossing], column, group_by))


def _crossing(identity: pd.Series, side: pd.Series) -> pd.Series:
    """(N,) bool, True in the rows whose identity is on two or more sides."""
    codes, values = pd.factorize(identity)
    sides = side.map({"train": 0, "unlabelled": 0, "val": 1, "test": 2}).to_numpy(np.int64)
    present = np.bincount((codes * 3 + sides)[codes >= 0], minlength=3 * len(values)).reshape(-1, 3) > 0
    crosses = np.append(present.sum(axis=1) > 1, False)  # the last entry is for code -1, a missing identity
    return pd.Series(crosses[codes], index=identity.index)


def _leak(noun: str, rows: pd.DataFrame, column: str, group_by: Sequence[str]) -> str:
    """The message: identity, sides, number of further identities, fix, and one image of each side."""
    name, others = rows[column].min(), rows[column].nunique() - 1
    first = rows[rows[column] == name].drop_duplicates("side").set_index("side")["image_id"]
    *firsts, last = [side for side in USED_SPLITS if side in first]
    more = f" ({others} more like it)" if others else ""
    fixable = column not in group_by and column not in CONTENT
    fix = f"split.group_by lacks {column} (params.yaml)" if fixable else "run `dvc repro -f split`"
    images = ", ".join(f"{first[side]} ({side})" for side in (*firsts, last))
    return f"{noun} {name} is in {', '.join(firsts)} and {last}{more}: {fix}; images {images}"


def prove_external(
    name: str, external: pd.DataFrame, accepted: pd.DataFrame, table: pd.DataFrame, pairs: pd.DataFrame
) -> None:
    """Check that an external test set shares nothing with the images of the study, except withheld ones.

    Images of test are not used in training, but a difference between two test sets that share lesions would compare
    lesions with themselves.

    Args:
        name: of the external test set.
        external: its rows, with the columns of Accepted.
        accepted: the rows of the study, with the columns of Accepted.
        table: the split of the study, with image_id and split.
        pairs: near-duplicates, columns first and second (image_id), one of each set in either order.

    Raises:
        LeakError: with the first image, patient or lesion that both share.
    """
    used = accepted.assign(side=accepted["image_id"].map(table.set_index("image_id")["split"]))
    used = used[used["side"].isin(USED_SPLITS)].sort_values("image_id", kind="stable")
    for noun, verb, shared in _overlaps(external, used, pairs):
        if len(shared):
            raise LeakError(_overlap(name, noun, verb, shared.sort_values(["what", "image_id"], kind="stable")))


def _overlaps(external: pd.DataFrame, used: pd.DataFrame, pairs: pd.DataFrame) -> list[tuple[str, str, pd.DataFrame]]:
    """Noun, verb and rows of each kind of overlap: columns what (external set), image_id (of the study), side."""
    ours, theirs = used[["image_id", "side"]], external[["image_id", "sha256"]].rename(columns={"image_id": "what"})
    exact = theirs.merge(used[["sha256", "image_id", "side"]], on="sha256")
    ends = pairs[["first", "second"]].set_axis(["what", "image_id"], axis=1)
    ends = pd.concat([ends, ends.rename(columns={"what": "image_id", "image_id": "what"})])
    near = ends[ends["what"].isin(external["image_id"])].merge(ours, on="image_id")
    same = [
        used[used[column].isin(external[column].dropna())].rename(columns={column: "what"})
        for column in ("patient_id", "lesion_id")
    ]
    return [
        ("image", "has the content of", exact),
        ("image", "is a near-duplicate of", near),
        ("patient", "is that of", same[0]),
        ("lesion", "is that of", same[1]),
    ]


def _overlap(name: str, noun: str, verb: str, shared: pd.DataFrame) -> str:
    row, count = shared.iloc[0], shared["what"].nunique()
    more = f" ({count - 1} more like it)" if count > 1 else ""
    test = row["side"] == "test"
    wrong = (
        "a difference between the two would compare it with itself"
        if test
        else "a test on it would measure memorisation"
    )
    return (
        f"external test set {name}: {noun} {row['what']} {verb} image {row['image_id']}, which is in "
        f"{row['side']}{more}: {wrong}; take these out of {name} (external, params.yaml) or "
        "out of the data set of the study"
    )
