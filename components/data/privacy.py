"""Ids leave a data set's own table only as keyed hashes: equal ids stay equal, and nobody without the key returns.

HMAC (Bellare, Canetti, Krawczyk 1996; RFC 2104) with SHA-256, cut to 64 bits: among a million ids the chance of
any two falling together is 3e-8. A plain hash would not do: patient numbers are few enough to try them all.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import pandas as pd

# Of published data sets: everybody has the ids and may have the key, and results can be repeated anywhere.
PUBLIC_KEY = b"dermflow: ids of published data sets"
DIGITS = 16  # hexadecimal
PEOPLE = ("patient_id", "lesion_id")
EVERYTHING = (*PEOPLE, "image_id")  # an image_id may be a file's name, and a file's name may be a person's


def pseudonymise(table: pd.DataFrame, columns: Sequence[str], key: bytes) -> pd.DataFrame:
    """A copy in which each value of `columns` is its pseudonym; what is missing or empty stays so.

    Ids mean something within one `source` (a column of the table): patient 17 of two clinics are two people.
    """
    return table.assign(**{column: _pseudonyms(table, column, key) for column in columns})


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
    """`patient-9f86d081884c7d65`: the same value of another kind or source has another pseudonym."""
    digest = hmac.new(key, f"{kind}:{source}:{value}".encode(), hashlib.sha256).hexdigest()
    return f"{kind}-{digest[:DIGITS]}"


def fingerprint(key: bytes) -> str:
    """Which key it was, without a way back to it."""
    return hmac.new(key, b"fingerprint", hashlib.sha256).hexdigest()[:8]
