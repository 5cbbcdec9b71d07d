"""The clone gets the data that the original run read, or the run is refused."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from components.base.errors import RunError
from flows.commands.cli import app
from tests.unit.flows.toy_repository import DATA, change, command, record, repeat, write_data

# DVC 3.67 uses pygtrie in a way that pygtrie has deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning"),
    pytest.mark.usefixtures("toy_checkout"),
]


def test_other_data_are_refused_with_both_md5(tmp_path: Path) -> None:
    run = record("average")
    (DATA / "b.txt").write_text("something else")
    done = CliRunner().invoke(app, ["reproduce", run, "--into", str(tmp_path / "new")])
    assert done.exit_code == 2
    message = (
        rf"{DATA}: other data: the run read md5 \w+\.dir, the present md5 is \w+\.dir, and DVC does not track it \(no"
    )
    assert re.search(rf"{message} .dvc", done.output)
    shutil.rmtree(DATA)
    with pytest.raises(RunError, match=r"the data set of the run \(md5 \w+\.dir\) is missing; put it there"):
        repeat(run, tmp_path / "gone")


def test_data_under_dvc_are_fetched_in_the_version_of_the_run(toy_checkout: Path, tmp_path: Path) -> None:
    command(toy_checkout, sys.executable, "-m", "dvc", "add", "-q", str(DATA))
    run = record("average")
    (DATA / "b.txt").unlink()  # DVC's links are read-only
    (DATA / "b.txt").write_text("something else")
    command(toy_checkout, sys.executable, "-m", "dvc", "add", "-q", str(DATA))
    found, _ = repeat(run, tmp_path / "new")
    assert found.verdict == "equal"
    assert (tmp_path / "new" / DATA / "b.txt").read_text() == "xxxx"
    assert not (tmp_path / "new" / DATA).is_symlink()
    assert (DATA / "b.txt").read_text() == "something else"


def test_data_outside_the_repository_are_read_in_place(toy_checkout: Path, tmp_path: Path) -> None:
    write_data(toy_checkout.parent / "mine")
    change("params.yaml", f"path: {DATA}", "path: ../mine")
    run = record("measure")
    found, output = repeat(run, tmp_path / "new")
    assert found.verdict == "equal"
    assert "dataset.path is an absolute path in the clone: ../mine means another folder there" in output
    assert str(toy_checkout) not in (tmp_path / "new" / "reproduction.json").read_text()  # which MLflow gets


def test_the_path_of_an_external_cohort_is_reported_as_in_the_run(toy_checkout: Path, tmp_path: Path) -> None:
    """It is absolute in the clone and, in dvc.lock, within a list; that is no reason, and MLflow does not get it."""
    write_data(toy_checkout.parent / "theirs")
    change("params.yaml", "external: []", "external: [{name: pad, dataset: {kind: pad_ufes, path: ../theirs}}]")
    change("dvc.yaml", "flows/average.py]", 'flows/average.py, "${external[0].dataset.path}"]')
    change("dvc.yaml", "[compare.margin]", "[compare.margin, external]")
    run = record("average")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOY_SHIFT", "0.5")
        found, output = repeat(run, tmp_path / "new")
    place = str(toy_checkout.parent / "theirs")
    assert found.verdict == "differs" and list(found.workspace.moved) == [place]
    assert place in (tmp_path / "new" / "dvc.lock").read_text()
    assert found.comparison.first is not None and found.comparison.first.reasons == []
    assert "likely" in output and "other setting" not in output and "other data" not in output
    assert str(toy_checkout.parent) not in (tmp_path / "new" / "reproduction.json").read_text()
