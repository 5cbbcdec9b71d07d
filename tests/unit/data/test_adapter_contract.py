"""The contract of every file in components/data/adapters: a new file is tested without a change here."""

from __future__ import annotations

import subprocess
import sys
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
from components.data.read_report import ReadReport
from components.data.records import Raw, failures
from tests.unit.data.example_data import FAMILY, example_of, read_pixels_of, write_example


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
    assert {Path(path).suffix.lower() for path in paths} <= {".jpg", ".png"}


def test_a_missing_folder_is_named(name, tmp_path: Path):
    config = load_member(FAMILY, name).Config(path=tmp_path / "nowhere", **example_of(name).settings)
    with pytest.raises(DataError, match=r"(?s)nowhere.*dataset\.path|dataset\.path = .*nowhere"):
        config.read(ReadReport())


def test_it_is_chosen_by_its_kind_and_refuses_unknown_settings(adapter):
    assert TypeAdapter(Annotated[object, OneOf(FAMILY)]).validate_python(adapter.model_dump()) == adapter
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        type(adapter)(**{**adapter.model_dump(), "colour": 1})
