"""The contract of every file in components/data/adapters: a new file is tested without a change here."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pandas as pd
import pytest
from pydantic import TypeAdapter, ValidationError

from components.base.config import OneOf
from components.base.errors import DataError
from components.base.families import load_member, members
from components.base.licence import Licence
from components.data.adapters import Adapter, ExampleData
from components.data.first_look import best, look_at, recognitions
from components.data.read_report import ReadReport
from components.data.records import Raw, failures
from tests.unit.data.example_data import FAMILY, example_of, read_pixels_of, tables_of, write, write_example


@pytest.fixture(params=members(FAMILY))
def name(request) -> str:
    return request.param


@pytest.fixture
def adapter(name, tmp_path: Path) -> Adapter:
    return write_example(name, tmp_path / "set")


def test_the_family_is_found():
    assert {"ham10000", "folder", "synthetic", "table"} <= set(members(FAMILY))


def test_kind_is_the_name_of_the_file(name, adapter):
    assert type(adapter).model_fields["kind"].default == adapter.kind == name


def test_the_first_line_says_what_it_is(name):
    assert (load_member(FAMILY, name).__doc__ or "").partition("\n")[0].strip()


def test_an_example_of_the_layout_is_stated(name):
    assert isinstance(example_of(name), ExampleData)


def test_importing_adapters_imports_no_torch(repo):
    code = (
        "import sys\n"
        "from components.base.families import load_member, members\n"
        f"for name in members({FAMILY!r}):\n"
        f"    load_member({FAMILY!r}, name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repo, check=True)


def test_the_licence_of_the_images_is_stated(name):
    licence = load_member(FAMILY, name).Config.licence
    assert isinstance(licence, Licence)
    assert all((licence.name, licence.citation, licence.home, licence.terms))


def test_it_is_stated_whether_the_ids_are_public(name):
    """Data without a licence that names their owner are one's own, and their ids are never public."""
    config = load_member(FAMILY, name).Config
    assert isinstance(config.published, bool)
    assert config.published is (config.licence.home != "dataset.path")


def test_the_table_keeps_the_contract(adapter):
    table = adapter.read(ReadReport())
    assert len(table) >= 2
    assert list(table) == list(Raw.columns)
    assert failures(table).empty
    assert table["diagnosis"].notna().any()


def test_reading_again_gives_the_same_table(adapter):
    pd.testing.assert_frame_equal(adapter.read(ReadReport()), adapter.read(ReadReport()))


def test_every_path_is_an_image_of_its_own(adapter):
    paths = adapter.read(ReadReport())["path"]
    assert len({read_pixels_of(adapter.path, path).tobytes() for path in paths}) == len(paths)
    assert {Path(path).suffix.lower() for path in paths} <= {".jpg", ".png", ".dcm", ""}  # rows of a file have none


def test_a_missing_folder_is_named(name, tmp_path: Path):
    config = load_member(FAMILY, name).Config(path=tmp_path / "nowhere", **example_of(name).settings)
    with pytest.raises(DataError, match=r"(?s)nowhere.*dataset\.path|dataset\.path = .*nowhere"):
        config.read(ReadReport())


def test_it_is_chosen_by_its_kind_and_refuses_unknown_settings(adapter):
    assert TypeAdapter(Annotated[object, OneOf(FAMILY)]).validate_python(adapter.model_dump()) == adapter
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(adapter)(**{**adapter.model_dump(), "colour": 1})


def test_its_example_is_known_again_and_read_whole(name, adapter):
    found = recognitions(look_at(adapter.path))
    if name == "synthetic" or not hasattr(load_member(FAMILY, name), "recognise"):
        assert name not in found  # a table of patients may have the columns of the synthetic one
        return
    assert best(found) == [name]
    settings = found[name].settings
    same = type(adapter)(path=adapter.path, **{**example_of(name).settings, **settings})
    assert len(type(adapter)(path=adapter.path, **settings).read(ReadReport())) == len(same.read(ReadReport())) > 1


def _odd_rows(text: str, change: Callable[[str], str]) -> str:
    """A table in which every cell of every second row is written otherwise."""
    header, *rows = list(csv.reader(io.StringIO(text)))
    written = io.StringIO()
    changed = [[change(cell) for cell in row] if place % 2 == 0 else row for place, row in enumerate(rows)]
    csv.writer(written, lineterminator="\n").writerows([header, *changed])
    return written.getvalue()


SPELLINGS = {
    "a blank behind": lambda cell: f"{cell} ",
    "a no-break space before": lambda cell: f"\u00a0{cell}",
    "a zero-width space": lambda cell: f"{cell[:1]}\u200b{cell[1:]}",
    "a byte order mark and a tab": lambda cell: f"\ufeff{cell}\t",
    "a whole number as decimal": lambda cell: f"{cell}.0" if cell.isdigit() else cell,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_another_spelling_of_cells_gives_the_same_table(name, spelling, tmp_path: Path):
    """Ids, diagnoses and names of files: only what a table says counts, not how its cells were typed."""
    clean = write_example(name, tmp_path / "clean")
    odd = write_example(name, tmp_path / "odd")
    for path, text in tables_of(name).items():
        write(odd.path, path, _odd_rows(text, SPELLINGS[spelling]))
    pd.testing.assert_frame_equal(odd.read(ReadReport()), clean.read(ReadReport()))


def test_decomposed_letters_of_ids_give_the_same_groups(name, tmp_path: Path):
    """Both tables have é in every cell that is an id of a patient or lesion; in one of them as two characters."""
    ids = set(write_example(name, tmp_path / "plain").read(ReadReport())[["patient_id", "lesion_id"]].stack())
    found = []
    for form in ("NFC", "NFD"):
        config = write_example(name, tmp_path / form)
        for path, text in tables_of(name).items():
            accented = _odd_rows(text, lambda cell: f"{cell}\u00e9" if cell in ids else cell)
            again = _odd_rows(accented, lambda cell, form=form: unicodedata.normalize(form, cell))
            write(config.path, path, again)
        found.append(config.read(ReadReport()))
    pd.testing.assert_frame_equal(*found)


@pytest.mark.parametrize("word", ["NA", "-", "keine Angabe", "(unknown)"])
def test_a_word_for_nothing_is_no_person(name, word, tmp_path: Path):
    """Every cell that is a patient's or lesion's id has the word: then no two images belong together."""
    if not tables_of(name):
        pytest.skip("the ids of this layout are in no table that a test can write otherwise")
    plain = write_example(name, tmp_path / "plain").read(ReadReport())
    ids = set(plain[["patient_id", "lesion_id"]].stack()) - set(plain["image_id"])
    config = write_example(name, tmp_path / "words")
    for path, text in tables_of(name).items():
        header, *rows = list(csv.reader(io.StringIO(text)))
        written = io.StringIO()
        csv.writer(written).writerows([header, *[[word if cell in ids else cell for cell in row] for row in rows]])
        write(config.path, path, written.getvalue())
    table = config.read(ReadReport())
    assert len(table) == len(plain)
    known = [
        name for name in ("patient_id", "lesion_id") if set(plain[name].dropna()) <= ids and len(plain[name].dropna())
    ]
    for column in known:
        assert not table[column].isin([word]).any()
    if "patient_id" in known:
        assert table["patient_id"].isna().all()
