"""A former split that later data versions keep: who stood in test stays in test, and only new lesions are drawn.

Images are recognised by their id, their content, and the ids of their lesion and patient. So an image that was added to
a lesion of test is in test, and so is a file that was only renamed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import pandera.pandas as pa

from components.base.errors import DataError
from components.data.records import LABELLED_SPLITS

PRECEDENCE = ("test", "val", "train")
"""Which home a group gets that joins groups of several: test first, so that no test lesion is ever trained on."""

_HOMES = pa.Check.isin(LABELLED_SPLITS, error=f"words: one of {', '.join(LABELLED_SPLITS)}")

Kept = pa.DataFrameSchema(
    {
        "image_id": pa.Column(str, unique=True),
        "lesion_id": pa.Column(str),
        "patient_id": pa.Column(str, nullable=True),
        "sha256": pa.Column(str),
        "group": pa.Column(str),  # of the former split
        "home": pa.Column(str, _HOMES),  # the split of the group; train where it was used in pretraining alone
    },
    strict=True,
    ordered=True,
)
"""The table that `split.keep` names, one row an image of the former split."""


@dataclass(frozen=True)
class Keeping:
    """Where the groups of a table stood in the former split."""

    homes: pd.Series
    """Group of the table -> train, val or test; a group without an image of the former split is not there."""
    missing: Mapping[str, int]
    """Home -> groups of the former split of which no image is there any more."""
    moved: Mapping[str, int]
    """`train_to_val`, `train_to_test`, `val_to_test` -> groups of the former split that went there, since they are now
    one group with images that stood there."""


def kept_table(accepted: pd.DataFrame, split: pd.DataFrame, former: pd.DataFrame | None = None) -> pd.DataFrame:
    """The table of a split that later versions keep, with the columns of Kept, sorted by image_id.

    Args:
        accepted: the rows that were split, with image_id, lesion_id, patient_id and sha256.
        split: with image_id, group and split.
        former: the table that this split kept itself: its images that are gone may come back.

    Raises:
        DataError: where the two have different images.
    """
    if set(accepted["image_id"]) != set(split["image_id"]):
        raise DataError(
            f"the split has {len(split)} images and the accepted table {len(accepted)}, expected the same images in "
            "both: name a revision at which `dvc repro split` had run, or run it now"
        )
    labelled = split[split["split"].isin(LABELLED_SPLITS)].drop_duplicates("group").set_index("group")["split"]
    bare = split["split"].map({"unlabelled": "train", "withheld": "test"})  # of a group without any label left
    home = split["group"].map(labelled).fillna(bare)
    table = accepted[["image_id", "lesion_id", "patient_id", "sha256"]].merge(
        split[["image_id", "group"]].assign(home=home), on="image_id", validate="one_to_one"
    )
    if former is not None:
        gone = former[~former["image_id"].isin(table["image_id"])]
        present = table.drop_duplicates("group").set_index("group")["home"]
        table = pd.concat([table, gone.assign(home=gone["group"].map(present).fillna(gone["home"]))])
    return table.sort_values("image_id", kind="stable", ignore_index=True).astype("str")


def check_kept(table: pd.DataFrame, origin: str) -> pd.DataFrame:
    """The table itself, where it has the columns and words of Kept.

    Args:
        table: every column is text.
        origin: the file that the message names.

    Raises:
        DataError: naming the first column that is wrong.
    """
    try:
        return pd.DataFrame(Kept.validate(table))
    except pa.errors.SchemaError as error:
        raise DataError(
            f"{origin}: is no split to keep ({str(error).splitlines()[0]}); `dermflow data keep-split` writes one"
        ) from error


def recognise(accepted: pd.DataFrame, group: pd.Series, kept: pd.DataFrame, group_by: Sequence[str]) -> Keeping:
    """Find the groups of a former split in a table.

    Args:
        accepted: with image_id, sha256 and `group_by`.
        group: of each row, indexed as `accepted`.
        kept: with the columns of Kept.
        group_by: columns of ids whose rows stay together; a former image counts for all rows that share one.
    """
    rows = accepted.assign(now=group)
    shared = [_shared(rows, kept, column) for column in dict.fromkeys(("image_id", *group_by, "sha256"))]
    pairs = pd.concat(shared).drop_duplicates(["now", "group"])
    rank = pairs["home"].map({name: place for place, name in enumerate(PRECEDENCE)})
    homes = pairs.assign(rank=rank).sort_values("rank", kind="stable").drop_duplicates("now").set_index("now")["home"]
    former = kept.drop_duplicates("group").set_index("group")["home"]
    gone = former[~former.index.isin(pairs["group"])]
    ends = pairs["home"] + "_to_" + pairs["now"].map(homes)
    moves = [f"{a}_to_{b}" for a, b in (("train", "val"), ("train", "test"), ("val", "test"))]
    return Keeping(
        homes=homes,
        missing={name: int((gone == name).sum()) for name in LABELLED_SPLITS},
        moved={name: int(pairs.loc[ends == name, "group"].nunique()) for name in moves},
    )


def _shared(rows: pd.DataFrame, kept: pd.DataFrame, column: str) -> pd.DataFrame:
    """Columns now, group and home of groups that share a value of the column."""
    ours = rows[[column, "now"]].dropna().drop_duplicates()
    theirs = kept[[column, "group", "home"]].dropna().drop_duplicates()
    return ours.merge(theirs, on=column)[["now", "group", "home"]]
