"""Byte-identical images: what contradicts itself is refused, what repeats itself stays together."""

from __future__ import annotations

import pandas as pd


def exact_groups(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose file another row shares, sorted by sha256 and image_id; needs both columns.

    The same picture under two lesions stays as well: `splits` keeps equal bytes in one group whatever the
    metadata say, so such a pair costs a little variety and leaks nothing.
    """
    repeated = table["sha256"].notna() & table["sha256"].duplicated(keep=False)
    return table[repeated].sort_values(["sha256", "image_id"], kind="stable")


def contradictions(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose file has another label elsewhere, and `other`: those image_ids with their labels.

    No rule can tell which label is right, so none of them is kept; a copy without a label contradicts nobody.
    """
    labelled = exact_groups(table).dropna(subset=["label"])
    found = labelled[labelled.groupby("sha256")["label"].transform("nunique") > 1]
    copies = {str(sha256): rows for sha256, rows in found.groupby("sha256")}
    pairs = zip(found["sha256"], found["label"], strict=True)
    others = [_others(copies[sha256], label) for sha256, label in pairs]
    return found.assign(other=pd.Series(others, index=found.index, dtype="str"))


def _others(copies: pd.DataFrame, label: str) -> str:
    """`ISIC_2 (nv), ISIC_3 (bcc)`: the copies with another label."""
    rivals = copies[copies["label"] != label]
    return ", ".join(f"{name} ({word})" for name, word in zip(rivals["image_id"], rivals["label"], strict=True))
