"""Pseudonyms are keyed hashes: equal ids stay equal, other keys, kinds and sources give others."""

from __future__ import annotations

import hashlib
import hmac

import pandas as pd
import pytest

from components.base.errors import DataError
from components.data.privacy import check_sources, fingerprint, pseudonym, pseudonymise


def test_a_pseudonym_is_the_hmac_of_its_definition() -> None:
    digest = hmac.new(b"k", b"patient:clinic:p1", hashlib.sha256).hexdigest()
    assert pseudonym("patient", "clinic", "p1", b"k") == f"patient-{digest[:16]}"


def test_equal_ids_stay_equal_and_other_keys_and_kinds_differ() -> None:
    table = pd.DataFrame({"patient_id": ["a", "a", "b", None], "lesion_id": ["a", "b", "", "a"]}, dtype="str")
    table = table.assign(source=["x", "x", "x", "y"])
    hidden = pseudonymise(table, ("patient_id", "lesion_id"), b"key")
    assert hidden["patient_id"].nunique() == 2
    assert hidden["patient_id"][0] == hidden["patient_id"][1]
    assert pd.isna(hidden["patient_id"][3])
    assert hidden["lesion_id"][2] == ""  # the contract names it
    assert not set(hidden["patient_id"]) & set(hidden["lesion_id"])
    assert hidden["patient_id"].dtype == "str"
    assert hidden["lesion_id"].nunique() == 4  # lesion a of another source is another
    other = pseudonymise(table, ("patient_id",), b"another")
    assert not set(hidden["patient_id"].dropna()) & set(other["patient_id"].dropna())
    assert table["patient_id"].tolist()[:3] == ["a", "a", "b"]
    assert fingerprint(b"key") != fingerprint(b"another")


def test_ids_as_names_of_data_sets_are_refused():
    ids = pd.Series([f"P{row // 3}" for row in range(90)])
    with pytest.raises(DataError, match=r"here.csv: column source has 30 values in 90 rows") as caught:
        check_sources(ids, "here.csv")
    assert "P0" not in str(caught.value)
    assert caught.value.words == "such as ['P0', 'P1', 'P2']"
    check_sources(pd.Series([f"clinic {row // 10}" for row in range(90)]), "here.csv")
    check_sources(ids[:24], "here.csv")  # few names are shown anyway
