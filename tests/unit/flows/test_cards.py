"""The stage cards: the same bytes each time, missing statements, unusable files, no torch."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import chdir
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from components.base.errors import CheckpointError, DataError
from components.base.log import SilentLog
from components.cards.settings import CardSettings
from components.data.adapters.ham10000 import Config as Ham10000
from components.data.ids import NO_IDS
from flows.cards import cards
from tests.unit.cards.simulated_run import (
    PAGES,
    UNSTATED,
    arguments,
    chosen_of,
    prepare,
    read_text,
)
from tests.unit.comparison.simulated_study import write_json


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, repo: Path) -> Path:
    """A study that never ran, with its cards."""
    place = tmp_path_factory.mktemp("cards")
    with chdir(place):
        prepare()
        cards.work(**arguments(repo))
    return place


def test_the_same_run_gives_the_same_bytes(folder: Path, repo: Path) -> None:
    before = {name: read_text(folder, name) for name in PAGES}
    with chdir(folder):
        cards.work(**arguments(repo))
    assert {name: read_text(folder, name) for name in PAGES} == before


def test_the_last_line_lists_missing_statements(folder: Path, repo: Path) -> None:
    statements = CardSettings(**dict.fromkeys(UNSTATED, "stated"))
    logs = [SilentLog(), SilentLog()]
    with chdir(folder):
        kept = {name: read_text(folder, name) for name in PAGES}
        cards.work(**arguments(repo, cards=statements, log=logs[0]))
        cards.work(**arguments(repo, log=logs[1]))
    assert logs[0].lines[-1] == "Look at reports/model_card.html"
    assert re.search(r"model_card.html; not stated yet \(cards, params.yaml\): owner, contact, ", logs[1].lines[-1])
    assert {name: read_text(folder, name) for name in PAGES} == kept


def test_a_run_that_was_not_evaluated_is_named(folder: Path, repo: Path) -> None:
    with chdir(folder):
        file = Path("metrics/evaluate.json")
        kept = file.read_text()
        write_json(file, {"vae-frozen-0": {}})
        with pytest.raises(DataError, match=r"evaluate.json lacks imagenet-\w+-\d, which compare chose; dvc repro"):
            cards.work(**arguments(repo))
        file.write_text(kept)


def test_a_file_that_holds_no_weights_is_named(folder: Path, repo: Path) -> None:
    run, _, _ = chosen_of(folder)
    file = folder / "classifiers" / f"{run}.safetensors"
    kept = file.read_bytes()
    with chdir(folder):
        file.write_bytes(b"not weights at all")
        with pytest.raises(CheckpointError, match=rf"classifiers/{run}.safetensors: is not a whole safetensors file"):
            cards.work(**arguments(repo))
        save_file({"a": np.ones(1, np.float32)}, file)  # no header of ours
        with pytest.raises(CheckpointError, match=r"has no 'dermflow' header, .*rerun its stage"):
            cards.work(**arguments(repo))
        save_file({"a": np.ones(1, np.float32)}, file, {"dermflow": "{broken"})
        with pytest.raises(CheckpointError, match=r"header is not JSON \(Expecting property name .*rerun its stage"):
            cards.work(**arguments(repo))
    file.write_bytes(kept)


def test_a_missing_file_of_a_stage_is_named(tmp_path: Path, repo: Path) -> None:
    with chdir(tmp_path), pytest.raises(DataError, match=r"reports/comparison.json: cannot be read .*dvc repro"):
        cards.work(**arguments(repo, dataset=Ham10000(path=tmp_path)))


def test_the_cards_need_no_torch(repo: Path) -> None:
    code = "import sys, flows.cards; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=repo, check=False).returncode == 0


def _heads(folder: Path) -> list[str]:
    """The top of the main page, the model card and the data sheet."""
    ends = {"comparison.html": "</section>", "model_card.md": "## Model details", "data_sheet.md": "## Motivation"}
    return [read_text(folder, name).partition(end)[0] for name, end in ends.items()]


@pytest.mark.parametrize(("known", "sentence"), [
    (0, f"{NO_IDS}."),
    (550, "50 of 600 images have no lesion id: each of them counts as a lesion of its own."),
])  # fmt: skip
def test_index_and_cards_say_what_is_not_known_of_ids(tmp_path: Path, repo: Path, known, sentence) -> None:
    with chdir(tmp_path):
        prepare(known_lesions=known)
        cards.work(**arguments(repo))
    assert all(sentence in head for head in _heads(tmp_path))
    assert f"Note: {sentence}" in read_text(tmp_path, "answer.txt")
    unit = "lesions that no model was trained or selected on"
    assert (unit in " ".join(read_text(tmp_path, "comparison.html").split())) is (known > 0)
    assert ("None of these patients or lesions" in read_text(tmp_path, "model_card.md")) is (known > 0)


def test_nothing_is_said_of_ids_that_are_known(folder: Path) -> None:
    assert not any("Ids:" in head or ">Ids<" in head for head in _heads(folder))
