"""Pseudonyms: ids leave a data set's own table only as keyed hashes.

Equal ids stay equal, and without the key an id cannot be recovered. The hash is HMAC (Bellare, Canetti, Krawczyk 1996;
RFC 2104) with SHA-256, cut to 64 bits: among a million ids the probability of a collision is 3e-8. A hash without a key
would not protect anybody, since patient numbers are few enough to try them all.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import pandas as pd

from components.base.errors import DataError

PUBLIC_KEY = b"dermflow: ids of published data sets"
"""The key for published data sets: their ids are public, and the same pseudonyms everywhere make results repeatable."""

MOST_SOURCES = 8
ROWS_PER_SOURCE = 10

DIGITS = 16
"""Hexadecimal digits of a pseudonym."""


def pseudonymise(table: pd.DataFrame, columns: Sequence[str], key: bytes) -> pd.DataFrame:
    """The table with the ids of some columns replaced by pseudonyms.

    Args:
        table: with the column `source`, the name of the data set, and `columns`.
        columns: PERSON_IDS or ALL_IDS of components/data/ids.py.
        key: secret, or PUBLIC_KEY.

    Returns:
        A copy with `pseudonym` of each id; missing and empty ids stay. An id is hashed with its `source`, since patient
        17 of two clinics is two persons.
    """
    return table.assign(**{column: _pseudonyms(table, column, key) for column in columns})


def check_sources(sources: pd.Series, origin: str) -> None:
    """Refuse ids as names of data sets, since metrics and pages show these names.

    Args:
        sources: the column `source`.
        origin: the file or folder that the message names.

    Raises:
        DataError: for more than MOST_SOURCES names of fewer than ROWS_PER_SOURCE rows each on average.
    """
    count = sources.nunique()
    if count > MOST_SOURCES and count * ROWS_PER_SOURCE > len(sources):
        raise DataError(
            f"{origin}: column source has {count} values in {len(sources)} rows, expected names of data sets, of "
            f"{ROWS_PER_SOURCE} or more rows each; map another column to source, or none (dataset.columns, params.yaml)"
        ).with_words(f"such as {sources.dropna().unique()[:3].tolist()}")


def _pseudonyms(table: pd.DataFrame, column: str, key: bytes) -> pd.Series:
    pairs = table[["source", column]].drop_duplicates().dropna()
    pairs = pairs[pairs[column] != ""]
    kind = column.removesuffix("_id")
    named = zip(pairs["source"], pairs[column], strict=True)
    made = [pseudonym(kind, source, value, key) for source, value in named]
    known = pd.Series(made, index=pd.MultiIndex.from_frame(pairs), dtype="str")
    hidden = known.reindex(pd.MultiIndex.from_frame(table[["source", column]]))
    return hidden.set_axis(table.index).where(table[column] != "", table[column])


def pseudonym(kind: str, source: str, value: str, key: bytes) -> str:
    """The pseudonym of one id, such as `patient-9f86d081884c7d65`.

    Args:
        kind: patient, lesion or image; the text before the hash, and a part of what is hashed.
        source: the data set in which the id is valid; it enters the hash.
        value: the id.
        key: of the hash.
    """
    digest = hmac.new(key, f"{kind}:{source}:{value}".encode(), hashlib.sha256).hexdigest()
    return f"{kind}-{digest[:DIGITS]}"


def fingerprint(key: bytes) -> str:
    """Eight hexadecimal digits that identify a key without revealing it."""
    return hmac.new(key, b"fingerprint", hashlib.sha256).hexdigest()[:8]
