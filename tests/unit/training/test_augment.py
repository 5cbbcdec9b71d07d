"""The augmentation is a function of seed, epoch and position, and of nothing else: not of worker, device or kill."""

from __future__ import annotations

import colorsys
import hashlib
import multiprocessing
import os
from itertools import islice

import albumentations
import cv2
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from ruamel.yaml import YAML
from torch import nn

from components.base.log import SilentLog
from components.data.pixels import read_pixels
from components.models.backbone import CpuProfile
from components.models.encoder import to_tensor
from components.training.augment import Augment, Augmentation, build
from components.training.conditions import Conditions, Phase
from components.training.examples import Examples
from components.training.figures import augmentation as figure
from components.training.finetune_batches import Feed
from components.training.loop import fit
from components.training.optimizers import adamw
from components.training.prefetch import prefetch
from components.training.session import open_session
from flows.commands import profile
from tests.unit.flows import small_study

NOTHING = Augment(flips_and_turns=False, scale=0, shift=0, brightness=0, contrast=0, hue=0, saturation=0)
POLICY = Augment(flips_and_turns=True, scale=0.15, shift=0.05, brightness=0.1, contrast=0.1, hue=4, saturation=10)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """(8, 32, 32, 3): smooth, without symmetry."""
    ramp = np.arange(32) * 5
    image = np.stack([ramp[:, None] + 0 * ramp, ramp + 0 * ramp[:, None], ramp[:, None] // 2 + ramp // 3], -1)
    return np.stack([image + shift for shift in range(8)]).astype(np.uint8)


@pytest.fixture(scope="module")
def augmentation() -> Augmentation:
    return build(POLICY, seed=3)


def _only(**changes: object) -> Augmentation:
    return build(NOTHING.model_copy(update=changes), seed=0)


def test_same_seed_epoch_and_position_give_same_pixels(images, augmentation):
    again = build(POLICY, seed=3)
    again(images, 5, 100)  # what came before does not matter
    np.testing.assert_array_equal(augmentation(images, 1, 0), again(images, 1, 0))


def test_pixels_do_not_depend_on_the_batch_size(images, augmentation):
    whole = augmentation(images, 2, 8)
    halves = [augmentation(images[:5], 2, 8), augmentation(images[5:], 2, 13)]
    np.testing.assert_array_equal(whole, np.concatenate(halves))


def test_another_seed_gives_other_pixels(images, augmentation):
    other = build(POLICY, seed=4)(images, 1, 0)
    assert not np.array_equal(augmentation(images, 1, 0), other)


def test_every_position_differs_over_epochs_and_from_its_neighbour(images, augmentation):
    same = np.repeat(images[:1], 8, axis=0)  # the same image at every position
    epochs = np.stack([augmentation(same, epoch, 0) for epoch in range(4)])  # (4, 8, S, S, 3)
    flat = epochs.reshape(32, -1)
    assert len(np.unique(flat, axis=0)) == 32


def test_a_policy_of_zeros_is_the_identity(images):
    np.testing.assert_array_equal(build(NOTHING, seed=0)(images, 0, 0), images)


def test_flips_and_turns_are_the_eight_symmetries_of_the_square(images):
    turns = [np.rot90(images[0], k) for k in range(4)]
    expected = {image.tobytes() for turn in turns for image in (turn, turn[:, ::-1])}
    seen = _only(flips_and_turns=True)(np.repeat(images[:1], 200, axis=0), 0, 0)
    assert {image.tobytes() for image in seen} == expected


def test_draws_of_one_transform_say_nothing_of_another():
    """Zoom and brightness of 200 images are uncorrelated; a common seed would make them equal."""
    cone = np.hypot(*(np.mgrid[:32, :32] - 15.5)) * 4 + 60
    same = np.repeat(np.repeat(cone[None, :, :, None], 3, axis=3).astype(np.uint8), 200, axis=0)
    made = _only(scale=0.3, brightness=0.2)(same, 0, 0).astype(float)[..., 0]
    centre = made[:, 14:18, 14:18].mean((1, 2))  # brightness
    slope = made[:, 16, 24] - made[:, 16, 16]  # zoom
    assert np.std(centre) > 3 and np.std(slope) > 2
    assert abs(np.corrcoef(centre, slope)[0, 1]) < 0.25


def test_hue_is_in_degrees():
    red = np.full((300, 4, 4, 3), (200, 50, 50), dtype=np.uint8)
    made = _only(hue=20)(red, 0, 0)[:, 0, 0] / 255
    hues = np.array([colorsys.rgb_to_hsv(*pixel)[0] * 360 for pixel in made])
    hues = (hues + 180) % 360 - 180
    assert -21 <= hues.min() < -14 and 14 < hues.max() <= 21


def test_brightness_keeps_to_its_share():
    grey = np.full((300, 4, 4, 3), 100, dtype=np.uint8)
    made = _only(brightness=0.1)(grey, 0, 0)[:, 0, 0, 0].astype(int) - 100
    assert -26 <= made.min() < -18 and 18 < made.max() <= 26  # of 255


def test_the_fingerprint_tells_policies_and_seeds_apart():
    prints = [build(POLICY, 0), build(POLICY, 0), build(POLICY, 1), build(NOTHING, 0)]
    first, again, seeded, other = (augmentation.sha256() for augmentation in prints)
    assert first == again and len({first, seeded, other}) == 3


def test_the_policy_as_plain_values_makes_the_same_pixels(images, augmentation):
    """Through YAML and back: albumentations' own reading gives transforms that do what ours do."""
    loaded = albumentations.from_dict(_through_yaml(augmentation.serialized()))
    again = Augmentation(loaded.transforms, POLICY, seed=3)
    np.testing.assert_array_equal(again(images, 1, 0), augmentation(images, 1, 0))
    assert not np.array_equal(again(images, 1, 0), images)


def _through_yaml(values: dict) -> dict:
    from io import StringIO

    text = StringIO()
    YAML().dump(values, text)
    return dict(YAML(typ="safe").load(text.getvalue()))


def test_geometry_comes_before_colour_and_nothing_normalises(augmentation):
    names = [step["__class_fullname__"] for step in augmentation.serialized()["transform"]["transforms"]]
    assert names == ["D4", "Affine", "RandomBrightnessContrast", "HueSaturationValue"]


def test_images_stay_uint8_after_every_transform(images, augmentation):
    image = images[0]
    for transform in augmentation.transforms:
        image = transform(image=image)["image"]
        assert image.dtype == np.uint8 and image.shape == images[0].shape


def test_a_policy_in_words_names_what_it_does():
    assert NOTHING.words() == "nothing"
    assert POLICY.words() == (
        "flips and turns, zoom ±15 %, shift ±5 %, brightness ±10 %, contrast ±10 %, hue ±4°, saturation ±10 of 255"
    )
    assert NOTHING.model_copy(update={"shift": 0.005}).words() == "shift ±0.5 %"


def test_one_thread_is_taken(augmentation):
    """A stage keeps to compute.threads; OpenCV would take all cores."""
    assert augmentation.transforms and cv2.getNumThreads() == 1


EPOCHS = 3


def _feed(folder, seed: int = 0, **changes) -> Feed:
    """The train images of a workplace as fine-tuning draws them."""
    plain = {"batch_size": 6, "weight_decay": 0.0, "hidden": 8, "dropout": 0.2, "imbalance": "none"}
    plain |= {"focal_gamma": 2.0, "monitor": "loss", "patience": 9, "augment": POLICY}
    phases = [Phase("full", EPOCHS, 0.01)]
    pixels = read_pixels(folder)
    train = Examples(pixels, pixels.labels(small_study.CLASSES))
    return Feed(train, Conditions(classes=small_study.CLASSES, phases=phases, **(plain | changes)), seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """21 packed images: three batches of six and one of three."""
    folder = tmp_path_factory.mktemp("packed") / "train"
    small_study.write_split(folder, 21)
    return folder


def _hashes(batches) -> list[str]:
    """One an image, in order."""
    return [hashlib.sha256(image.numpy().tobytes()).hexdigest() for images, _ in batches for image in images]


def _draw_batch(folder, epoch: int, step: int) -> tuple[int, list[str]]:
    """In a worker of its own; who it was, and what it drew."""
    (part,) = islice(_feed(folder).mixed(epoch).parts(step, 0, 1), 1)
    return os.getpid(), _hashes([part.batch])


def test_workers_draw_what_one_process_draws(folder):
    """Single batches in two processes that know nothing of each other, and all in a thread."""
    feed = _feed(folder)
    straight = [_hashes(feed.mixed(epoch)) for epoch in range(EPOCHS)]
    tasks = [(folder, epoch, step) for epoch in range(EPOCHS) for step in range(feed.steps)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        drawn = pool.starmap(_draw_batch, tasks, chunksize=1)
    assert len({pid for pid, _ in drawn}) == 2
    assert [one for _, hashes in drawn for one in hashes] == [one for hashes in straight for one in hashes]
    assert [_hashes(prefetch(feed.mixed(epoch), "cpu")) for epoch in range(EPOCHS)] == straight


def test_no_image_is_drawn_alike_in_two_epochs_nor_under_two_seeds(folder):
    """21 images three times under two seeds: 126 pictures, none twice."""
    seen = [one for seed in (0, 1) for epoch in range(EPOCHS) for one in _hashes(_feed(folder, seed).mixed(epoch))]
    assert len(seen) == 126 == len(set(seen))
    assert _hashes(_feed(folder, 1).mixed(2)) == _hashes(_feed(folder, 1).mixed(2))


def test_the_same_place_of_a_batch_is_treated_otherwise_in_each_epoch(folder):
    """One image at every position: what differs is the draw alone, and no draw comes again."""
    feed = _feed(folder)
    one = np.zeros(len(feed.train.labels), dtype=np.int64)
    seen = [_hashes([(to_tensor(feed._augmented(one, epoch, 0)), None)]) for epoch in range(EPOCHS)]
    assert len({hash for epoch in seen for hash in epoch}) == EPOCHS * len(one)


@pytest.mark.parametrize("mixing", [{}, {"mixup": 0.4, "cutmix": 1.0}], ids=["plain", "mixed"])
def test_devices_and_resumed_epochs_draw_their_parts_of_the_same_batches(folder, mixing):
    epoch = _feed(folder, **mixing).mixed(1)
    whole = [images for images, _ in epoch]
    for step in range(len(whole)):
        resumed = [part.batch[0] for part in epoch.parts(step, 0, 1)]
        assert all(torch.equal(*pair) for pair in zip(resumed, whole[step:], strict=True))
        shares = [next(epoch.parts(step, place, 2)).batch[0] for place in range(2)]
        assert torch.equal(torch.cat(shares), whole[step])


class Watched(pl.LightningModule):
    """Remembers what it was shown, and dies at a step."""

    def __init__(self, dies_at: int | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(3, 3)
        self.shown: list[list[str]] = []
        self.dies_at = dies_at

    def training_step(self, batch, _):
        if len(self.shown) == self.dies_at:
            raise KeyError("killed")
        images, classes = batch
        self.shown.append(_hashes([batch]))
        return {"loss": nn.functional.cross_entropy(self.net(images.float().mean((2, 3)) / 255), classes)}

    def configure_optimizers(self):
        return adamw(self, 0.01, 0.0, total_steps=12)


def _train(module, feed, checkpoint):
    cpu = CpuProfile(precision="32-true", channels_last=True)
    session = open_session("cpu", cpu=cpu, seed=0, checkpoint=checkpoint, checkpoint_steps=1, log=SilentLog())
    given = {"epochs": EPOCHS, "session": session, "log": SilentLog(), "settings": {}, "what": "watched"}
    fit(module, feed.mixed, feed.steps, end_of_epoch=lambda _: {}, **given)
    return module


@pytest.mark.parametrize("dies_at", [2, 4, 7])
def test_a_resumed_run_is_shown_what_an_uninterrupted_one_is(folder, tmp_path, dies_at):
    feed = _feed(folder)
    straight = _train(Watched(), feed, tmp_path / "straight").shown
    killed = Watched(dies_at)
    with pytest.raises(KeyError, match="killed"):
        _train(killed, feed, tmp_path / "killed")
    resumed = _train(Watched(), _feed(folder), tmp_path / "killed").shown
    assert len(resumed) == len(straight) - dies_at
    assert killed.shown + resumed == straight
    flat = [one for batch in straight for one in batch]
    assert len(set(flat)) == len(flat) == EPOCHS * 21


def _shown(monkeypatch) -> list:
    """What the figure is given."""
    given: list = []
    real = augmentation.draw
    monkeypatch.setattr(figure, "draw", lambda *what: given.append(what) or real(*what))
    return given


@pytest.mark.parametrize("options", [{}, {"mixup": 0.4, "cutmix": 1.0}], ids=["plain", "mixed"])
def test_the_picture_shows_what_training_draws(tmp_path, monkeypatch, options):
    monkeypatch.chdir(small_study.build(tmp_path, **options))
    given, told = _shown(monkeypatch), []
    policy, picture = profile.augment(images=4, epochs=3, tell=told.append)
    ((originals, drawn, names, columns, _title),) = given
    feed = profile._feed(profile.load_settings(), "full")
    assert columns == ["epoch 1", "epoch 2", "epoch 3"] and len(originals) == 4
    assert [name for name, _ in names] == ["benign", "benign", "malignant", "vascular"]
    for (_, image_id), original, *views in zip(names, originals, *drawn, strict=True):
        row = feed.names(np.arange(21)).index(image_id)
        np.testing.assert_array_equal(original, feed.train.pixels.take(np.array([row]))[0])
        for epoch, view in enumerate(views):
            order = np.concatenate(feed.orders(epoch))
            trained = torch.cat([images for images, _ in feed.mixed(epoch)])[int(np.flatnonzero(order == row)[0])]
            np.testing.assert_array_equal(view, trained.permute(1, 2, 0).numpy())
            assert not np.array_equal(view, original)
    assert cv2.imread(str(picture)) is not None
    assert ("mixup 0.4, cutmix 1" in told[-1]) == bool(options)
    content = YAML(typ="safe").load(policy.read_text())
    assert (content["mixing"] == options) if options else (content["mixing"] is None)
    assert Augment.model_validate(content["augment"]) == feed.conditions.augment
    assert content["sha256"] == feed.augmentation_sha256()
    made = Augmentation(albumentations.from_dict(content).transforms, feed.conditions.augment, content["seed"])
    images = feed.train.pixels.take(np.arange(5))
    np.testing.assert_array_equal(made(images, 2, 5), feed.augmentation(images, 2, 5))


def test_an_image_that_an_epoch_leaves_out_is_shown_as_left_out(tmp_path, monkeypatch):
    """With classes drawn equally often, images of frequent classes stay out at times."""
    monkeypatch.chdir(small_study.build(tmp_path, imbalance="sampling"))
    given = _shown(monkeypatch)
    profile.augment(images=21, epochs=4, tell=lambda _: None)
    ((_, drawn, names, _, _),) = given
    feed = profile._feed(profile.load_settings(), "full")
    places = [feed.names(np.arange(21)).index(image_id) for _, image_id in names]
    for epoch, column in enumerate(drawn):
        there = set(np.concatenate(feed.orders(epoch)).tolist())
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
    profile.augment(images=3, epochs=6, tell=lambda _: None)
    ((_, drawn, names, columns, _),) = given
    assert columns == ["view 1", "view 2"]
    feed = profile._feed(profile.load_settings(), "frozen")
    places = [feed.names(np.arange(21)).index(image_id) for _, image_id in names]
    for number, column in enumerate(drawn):
        everything = torch.cat(list(feed.view(number))).permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal(np.stack(column), everything[places])
