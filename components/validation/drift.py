"""Differences between two versions of a data set: images, labels, class shares, image quality.

Images are matched by image_id, and the rest by their bytes, so that a renamed file counts neither as removed nor as
added. Versions are tables made by `assemble`; this module does not know where they are stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from components.validation.quality import MEASURES, QualityMeasure, Values, format_value

MAX_PER_KIND = 12
"""Images of one kind that `most_changed` lists."""

UNUSUAL = 3.0
"""Robust standard deviations from the former median; 0.3 % of a normal distribution are beyond."""

_WORDS = ("image_id", "path", "diagnosis", "label", "source", "sha256")
_NUMBERS = tuple(measure.name for measure in MEASURES)
UNLABELLED = "no label"


@dataclass(frozen=True)
class DatasetChanges:
    """All differences; tables have the columns of `assemble`, tables of both versions with `_before` and `_after`."""

    before: pd.DataFrame
    after: pd.DataFrame
    matched: pd.DataFrame  # images of both versions
    added: pd.DataFrame
    removed: pd.DataFrame
    classes: pd.DataFrame  # a row a label: images and shares of the accepted, before and after
    sources: pd.DataFrame  # a row a source: images before and after
    quality: pd.DataFrame  # a row a measure: quantiles before and after, distance
    unknown: tuple[str, ...]  # measures that one version does not have

    @property
    def relabelled(self) -> pd.DataFrame:
        """Images of both versions with another diagnosis; one that was added or removed counts too."""
        return self.matched[_differ(self.matched, "diagnosis")]

    @property
    def replaced(self) -> pd.DataFrame:
        """Images that kept their id and have other bytes."""
        known = self.matched["sha256_before"].notna() & self.matched["sha256_after"].notna()
        return self.matched[known & _differ(self.matched, "sha256")]

    @property
    def renamed(self) -> pd.DataFrame:
        """Images that kept their bytes and have another id."""
        return self.matched[_differ(self.matched, "image_id")]

    @property
    def newly_accepted(self) -> pd.DataFrame:
        """Images of both versions that are accepted now and were not."""
        return self.matched[self.matched["accepted_after"] & ~self.matched["accepted_before"]]

    @property
    def newly_quarantined(self) -> pd.DataFrame:
        """Images of both versions that were accepted and are not now."""
        return self.matched[self.matched["accepted_before"] & ~self.matched["accepted_after"]]

    @property
    def empty(self) -> bool:
        """True where no image has changed."""
        parts = (
            self.added,
            self.removed,
            self.relabelled,
            self.replaced,
            self.renamed,
            self.newly_accepted,
            self.newly_quarantined,
        )
        return all(part.empty for part in parts)


def assemble(records: pd.DataFrame, facts: pd.DataFrame, accepted: pd.DataFrame) -> pd.DataFrame:
    """One version as one table: a row an image_id, with its record, its facts and `accepted`.

    Columns that an older version does not have are null. Of rows with the same id the first is used.
    """
    known = facts.drop_duplicates("path").drop(columns="image_id", errors="ignore")
    table = records.drop_duplicates("image_id").merge(known, on="path", how="left")
    table = table.reindex(columns=[*_WORDS, *_NUMBERS, "phash"]).astype(dict.fromkeys(_WORDS, "str"))
    return table.assign(accepted=table["image_id"].isin(accepted["image_id"])).sort_values(
        "image_id", ignore_index=True
    )


def compare(before: pd.DataFrame, after: pd.DataFrame) -> DatasetChanges:
    """All differences between two tables of `assemble`."""
    pairs = _match(before, after)
    first = before.loc[pairs["before"]].add_suffix("_before").reset_index(drop=True)
    second = after.loc[pairs["after"]].add_suffix("_after").reset_index(drop=True)
    old, new = before[before["accepted"]], after[after["accepted"]]
    return DatasetChanges(
        before=before,
        after=after,
        matched=pd.concat([first, second], axis=1),
        added=after.drop(index=pairs["after"].tolist()),
        removed=before.drop(index=pairs["before"].tolist()),
        classes=_shares(old["label"].fillna(UNLABELLED), new["label"].fillna(UNLABELLED)),
        sources=_shares(before["source"], after["source"]),
        quality=pd.DataFrame([_quality(measure, old, new) for measure in MEASURES]).set_index("measure"),
        unknown=tuple(name for name in _NUMBERS if before[name].isna().all() or after[name].isna().all()),
    )


def _match(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Index pairs (before, after) of the same image: by id first, then one to one by bytes for the rest."""
    old = before[["image_id", "sha256"]].rename_axis("before").reset_index()
    new = after[["image_id", "sha256"]].rename_axis("after").reset_index()
    same = old.merge(new[["image_id", "after"]], on="image_id")
    left, right = (
        rest.assign(turn=rest.groupby("sha256").cumcount())
        for rest in (
            old[~old["before"].isin(same["before"])].dropna(subset=["sha256"]),
            new[~new["after"].isin(same["after"])].dropna(subset=["sha256"]),
        )
    )
    renamed = left.merge(right[["sha256", "turn", "after"]], on=["sha256", "turn"])
    return pd.concat([part[["before", "after"]] for part in (same, renamed)]).sort_values("after")


def _differ(matched: pd.DataFrame, column: str) -> pd.Series:
    """bool, True where a column differs; two missing values are equal."""
    old, new = matched[f"{column}_before"], matched[f"{column}_after"]
    return (old.fillna("") != new.fillna("")).astype(bool)


def _shares(before: pd.Series, after: pd.Series) -> pd.DataFrame:
    """Counts and shares of each word in both versions, and the difference of shares."""
    counts = pd.DataFrame({"before": before.value_counts(), "after": after.value_counts()}).fillna(0).astype("int64")
    counts = counts.sort_index()
    shares = counts / counts.sum().clip(lower=1)
    return counts.assign(
        share_before=shares["before"], share_after=shares["after"], difference=shares["after"] - shares["before"]
    )


def _quality(measure: QualityMeasure, before: pd.DataFrame, after: pd.DataFrame) -> dict[str, Any]:
    old, new = measure.values(before), measure.values(after)
    row: dict[str, Any] = {"measure": measure.name, "distance": distance(old, new)}
    for name, values in (("before", old), ("after", new)):
        quantiles = np.quantile(values, (0.05, 0.5, 0.95)) if values.size else np.full(3, np.nan)
        row |= {
            f"{part}_{name}": float(value) for part, value in zip(("low", "middle", "high"), quantiles, strict=True)
        }
    return row


def distance(before: Values, after: Values) -> float:
    """Largest difference of the two cumulative distributions, in [0, 1] (Kolmogorov-Smirnov); NaN without values."""
    if not (before.size and after.size):
        return float("nan")
    every = np.concatenate([before, after])
    shares = [np.searchsorted(np.sort(part), every, side="right") / part.size for part in (before, after)]
    return float(np.abs(shares[0] - shares[1]).max())


def unusualness(images: pd.DataFrame, former: pd.DataFrame) -> pd.DataFrame:
    """How far each image is from the former version.

    The distance of a measure is that from the former median, divided by a robust standard deviation: the width of the
    former middle nine tenths over 3.29 (their width in a normal distribution), and at least `QualityMeasure.least`.

    Returns:
        With the index of `images`: `score`, the largest distance, `measure`, its name, and `signed`, with its sign.
    """
    scores = pd.DataFrame({name: np.nan for name in _NUMBERS}, index=images.index)
    for measure in MEASURES:
        known = measure.scaled(measure.values(former))
        if known.size:
            low, middle, high = np.quantile(known, (0.05, 0.5, 0.95))
            values = measure.scaled(
                pd.to_numeric(images[measure.name], errors="coerce").to_numpy("float64", na_value=np.nan)
            )
            scores[measure.name] = (values - middle) / max((high - low) / 3.29, measure.least)
    size = scores.abs().fillna(0.0)
    farthest = size.idxmax(axis=1) if len(images) else pd.Series(dtype="str")
    signed = [scores.at[index, name] for index, name in farthest.items()]
    return pd.DataFrame({"score": size.max(axis=1), "measure": farthest, "signed": signed}, index=images.index)


def most_changed(changes: DatasetChanges) -> pd.DataFrame:
    """The images that a person should inspect, at most MAX_PER_KIND of a kind.

    Relabelled first; then replaced, the most different image first; then added ones that are UNUSUAL compared with the
    former version's quality, the most unusual first; then removed ones.

    Returns:
        kind, words, and image_id, path, sha256 of both versions; None where there is no value.
    """
    parts = [_relabelled(changes), _replaced(changes), unusual(changes), _removed(changes)]
    found = pd.concat([part.head(MAX_PER_KIND) for part in parts], ignore_index=True).astype("object")
    return found.where(found.notna(), None)


def _relabelled(changes: DatasetChanges) -> pd.DataFrame:
    rows = changes.relabelled.sort_values("image_id_after")
    old, new = (rows[f"diagnosis_{when}"].fillna(UNLABELLED).astype("str") for when in ("before", "after"))
    return _listed(rows, "relabelled", list(old + " → " + new))


def _replaced(changes: DatasetChanges) -> pd.DataFrame:
    rows = changes.replaced
    bits = [_bits(row.phash_before, row.phash_after) for row in rows.itertuples()]
    order = np.argsort([-each for each in bits], kind="stable")
    words = [f"{bits[place]} of 64 bits of the image hash changed" if bits[place] >= 0 else "" for place in order]
    return _listed(rows.iloc[order], "replaced", words)


def _bits(first: Any, second: Any) -> int:
    """Hamming distance of two hashes; -1 where one is unknown."""
    return -1 if pd.isna(first) or pd.isna(second) else (int(first) ^ int(second)).bit_count()


def unusual(changes: DatasetChanges) -> pd.DataFrame:
    """Every added image that is UNUSUAL, the most unusual first, with the columns of `most_changed`."""
    scores = unusualness(changes.added, changes.before[changes.before["accepted"]])
    scores = scores[scores["score"] >= UNUSUAL].sort_values("score", ascending=False, kind="stable")
    rows = changes.added.loc[scores.index].add_suffix("_after")
    words = [_describe_unusual(changes, index, row["measure"], row["signed"]) for index, row in scores.iterrows()]
    return _listed(rows, "new and unusual", words)


def _describe_unusual(changes: DatasetChanges, index: Any, name: str, signed: float) -> str:
    value, usual = float(changes.added[name].loc[index]), float(changes.quality["middle_before"].loc[name])
    title = next(measure.title for measure in MEASURES if measure.name == name)
    side = "above" if signed > 0 else "below"
    return f"{title} {format_value(value)}, far {side} the former median {format_value(usual)}"


def _removed(changes: DatasetChanges) -> pd.DataFrame:
    return _listed(changes.removed.add_suffix("_before"), "removed", [""] * len(changes.removed))


def _listed(rows: pd.DataFrame, kind: str, words: list[str]) -> pd.DataFrame:
    columns = [f"{name}_{when}" for when in ("before", "after") for name in ("image_id", "path", "sha256")]
    return rows.reindex(columns=columns).astype("object").assign(kind=kind, words=words)
