"""`dermflow augment`: the picture and the policy file show what training draws."""

from __future__ import annotations

import albumentations
import cv2
import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from components.base.run_id import FinetuneProtocol
from components.training.augment import Augmentation
from components.training.figures import augmentation as figure
from components.training.settings import Augment
from flows.commands.augment import augment
from flows.commands.study_trainings import finetune_batches
from flows.settings import load_settings
from tests.unit.flows import small_study


def _shown(monkeypatch) -> list:
    """What the figure is given."""
    given: list = []
    real = figure.draw
    monkeypatch.setattr(
        figure, "draw", lambda *what, **named: given.append((*what, *named.values())) or real(*what, **named)
    )
    return given


@pytest.mark.parametrize("options", [{}, {"mixup": 0.4, "cutmix": 1.0}], ids=["plain", "mixed"])
def test_the_picture_shows_what_training_draws(tmp_path, monkeypatch, options):
    monkeypatch.chdir(small_study.build(tmp_path, **options))
    given, lines = _shown(monkeypatch), []
    policy, picture = augment(images=4, epochs=3, echo=lines.append)
    ((originals, drawn, names, columns, _title),) = given
    batches = finetune_batches(load_settings(), FinetuneProtocol.FULL)
    assert columns == ["epoch 1", "epoch 2", "epoch 3"] and len(originals) == 4
    assert [name for name, _ in names] == ["benign", "benign", "malignant", "vascular"]
    for (_, image_id), original, *views in zip(names, originals, *drawn, strict=True):
        row = batches.names(np.arange(21)).index(image_id)
        np.testing.assert_array_equal(original, batches.train.pixels.take(np.array([row]))[0])
        for epoch, view in enumerate(views):
            order = np.concatenate(batches.orders(epoch))
            trained = torch.cat([images for images, _ in batches.mixed(epoch)])[int(np.flatnonzero(order == row)[0])]
            np.testing.assert_array_equal(view, trained.permute(1, 2, 0).numpy())
            assert not np.array_equal(view, original)
    assert cv2.imread(str(picture)) is not None
    assert ("mixup 0.4, cutmix 1" in lines[-1]) == bool(options)
    content = YAML(typ="safe").load(policy.read_text())
    assert (content["mixing"] == options) if options else (content["mixing"] is None)
    assert Augment.model_validate(content["augment"]) == batches.conditions.augment
    assert content["sha256"] == batches.augmentation_sha256()
    made = Augmentation(albumentations.from_dict(content).transforms, batches.conditions.augment, content["seed"])
    images = batches.train.pixels.take(np.arange(5))
    np.testing.assert_array_equal(made(images, 2, 5), batches.augmentation(images, 2, 5))


def test_an_image_that_an_epoch_leaves_out_is_shown_as_left_out(tmp_path, monkeypatch):
    """With classes drawn equally often, images of frequent classes stay out at times."""
    monkeypatch.chdir(small_study.build(tmp_path, imbalance="sampling"))
    given = _shown(monkeypatch)
    augment(images=21, epochs=4, echo=lambda _: None)
    ((_, drawn, names, _, _),) = given
    batches = finetune_batches(load_settings(), FinetuneProtocol.FULL)
    places = [batches.names(np.arange(21)).index(image_id) for _, image_id in names]
    for epoch, column in enumerate(drawn):
        there = set(np.concatenate(batches.orders(epoch)).tolist())
        assert [view is not None for view in column] == [place in there for place in places]
    assert any(view is None for column in drawn for view in column)


def test_kept_views_are_shown_where_the_encoder_is_frozen(tmp_path, monkeypatch):
    root = small_study.build(tmp_path, views=2)
    text = (root / "params.yaml").read_text()
    values = YAML(typ="safe").load(text)
    values["study"]["protocols"] = ["frozen"]
    with (root / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(values, file)
    monkeypatch.chdir(root)
    given = _shown(monkeypatch)
    augment(images=3, epochs=6, echo=lambda _: None)
    ((_, drawn, names, columns, _),) = given
    assert columns == ["view 1", "view 2"]
    batches = finetune_batches(load_settings(), FinetuneProtocol.FROZEN)
    places = [batches.names(np.arange(21)).index(image_id) for _, image_id in names]
    for number, column in enumerate(drawn):
        everything = torch.cat(list(batches.view(number))).permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal(np.stack(column), everything[places])
