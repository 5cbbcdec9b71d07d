"""Small tables with the columns of accepted rows that splits and leaks depend on."""

from __future__ import annotations

import pandas as pd

CLASSES = ("bcc", "mel", "nv")
BOTH = ("patient_id", "lesion_id")


def accepted_rows(**columns: list[str | None]) -> pd.DataFrame:
    """A table of accepted rows; an id that is not given is unique to its row."""
    count = len(next(iter(columns.values())))
    names: list[str | None] = [f"i{n:04d}" for n in range(count)]
    blank: list[str | None] = [None] * count
    plain = {"image_id": names, "label": blank, "lesion_id": names, "patient_id": blank, "sha256": names}
    plain |= {"source": ["here"] * count, "twins": blank}
    return pd.DataFrame(plain | columns).astype("str")


def rows_of_lesions(images: dict[str, int], per_lesion: int = 1) -> pd.DataFrame:
    labels: list[str | None] = [name for name, count in images.items() for _ in range(count)]
    ids: list[str | None] = [f"{name}-{n // per_lesion}" for n, name in enumerate(labels)]
    return accepted_rows(label=labels, lesion_id=ids)
