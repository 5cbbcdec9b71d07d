"""Data sets read with their adapter: pseudonyms, and a report of what was read."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.base.log import SilentLog
from components.data.adapters.table import Config as Table
from components.data.privacy import PUBLIC_KEY
from flows.settings.data import Privacy
from flows.stage_io.datasets import read_dataset, read_report, write_report
from tests.unit.data.example_data import paint, write
from tests.unit.flows.small_dataset import LABELS

COLUMNS = {"image_id": "image", "diagnosis": "dx", "patient_id": "patient", "lesion_id": "lesion"}


def table(root: Path, rows: str, source: str = "clinic") -> Table:
    paint(root, "a.png")
    write(root, "t.csv", f"image,dx,patient,lesion\n{rows}")
    return Table(path=root, file="t.csv", columns=COLUMNS, source=source)


@pytest.mark.parametrize("key", ["public", "secret"])
def test_ids_of_an_external_set_that_differ_in_case_or_zeros_from_the_studys_are_warned_of(tmp_path: Path, key):
    study = table(tmp_path / "study", "a,nv,P003,L1\nb,mel,P004,L2\nc,mel,P005,\n")
    theirs = table(tmp_path / "theirs", "a,nv,p003,L9\nb,mel,P4,l2\nC,mel,P005,\nd,mel,X1,L7\n")
    privacy, log, file = Privacy(key=key), SilentLog(), tmp_path / "report.json"
    records, report = read_dataset(theirs, LABELS, privacy, PUBLIC_KEY, study=study)
    write_report(report, file, privacy, log)
    found = [(each.count, each.examples) for each in report.warnings if each.kind == "similar_ids_of_study"]
    assert found == [(2, ("'P003' (study) and 'p003'", "'P004' (study) and 'P4'")), (1, ("'L2' (study) and 'l2'",))]
    said = [line for line in log.lines if "differ from one of the study" in line]
    assert len(said) == 2
    assert ("P003" in " ".join(said)) is (key == "public")
    assert read_report(file) == report
    assert not records["patient_id"].isin(["p003", "P4", "X1"]).any()


def test_ids_of_another_source_are_other_persons_and_short_ones_are_no_matter(tmp_path: Path):
    study = table(tmp_path / "study", "a,nv,P003,HAM_0001\n", "ham")
    theirs = table(tmp_path / "theirs", "a,nv,P003,HAM_0001\n", "isic")
    _, report = read_dataset(theirs, LABELS, Privacy(key="public"), PUBLIC_KEY, study=study)
    assert [(each.kind, each.examples) for each in report.warnings] == [
        ("equal_ids_of_study", ("'HAM_0001' of ham (study) and isic",))
    ]


def test_blanks_of_an_id_or_a_source_change_no_pseudonym(tmp_path: Path):
    clean = table(tmp_path / "clean", "a,nv,P3,L1\n")
    odd = table(tmp_path / "odd", "a ,nv ,\u00a0P3 ,L\u200b1\n", "clinic ")
    found = [read_dataset(each, LABELS, Privacy(key="secret"), PUBLIC_KEY)[0] for each in (clean, odd)]
    assert found[0].equals(found[1])
