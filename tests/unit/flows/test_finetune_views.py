"""The protocol frozen on cached features of views, against passing every image through the encoder each time."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from components.base.log import SilentLog
from components.models.encoder import Encoder, to_tensor
from components.training.batches import EpochBatches
from components.training.finetune_batches import FinetuneBatches
from tests.unit.flows.small_finetuning import changed_finetune, fingerprints, stop_in_second_epoch, weights_of


def _slowly(self, _cache, epoch):
    """`FinetuneBatches.features` as images, which pass through the encoder at every step; draws by each image's row."""
    views = self.conditions.finetune.views

    def draw(_step, rows, _first):
        images = self.train.pixels.take(rows)
        if views:
            pairs = zip(images, rows, strict=True)
            images = np.concatenate([self.augmentation(i[None], epoch % views, int(r)) for i, r in pairs])
        return to_tensor(images), torch.from_numpy(self.train.labels[rows])

    return EpochBatches(self.orders(epoch), draw)


@pytest.mark.parametrize("imbalance", ["none", "weights", "sampling", "focal"])
@pytest.mark.parametrize("views", [0, 2])
def test_cached_features_give_the_numbers_of_the_slow_way(run, settings, paths, monkeypatch, imbalance, views):
    schedule = settings["finetune"].frozen.model_copy(update={"epochs": 3})
    changed = changed_finetune(
        settings, frozen=schedule, views=views, imbalance=imbalance, monitor="accuracy", patience=9
    )
    fast, curve = run("vae", "frozen", finetune=changed), pd.read_csv(paths.curves / "finetune" / "vae-frozen-0.csv")
    weights = weights_of(paths, "vae-frozen-0")
    monkeypatch.setattr(FinetuneBatches, "features", _slowly)
    slow = run("vae", "frozen", finetune=changed)
    pd.testing.assert_frame_equal(
        curve, pd.read_csv(paths.curves / "finetune" / "vae-frozen-0.csv"), rtol=1e-5, atol=1e-6
    )
    assert fingerprints(slow) == fingerprints(fast)
    for name, value in weights_of(paths, "vae-frozen-0").items():
        torch.testing.assert_close(weights[name], value, rtol=1e-3, atol=1e-3)  # Adam makes steps even of roundings


@pytest.mark.parametrize(("views", "passes"), [(0, 21 + 9 + 9), (2, 21 + 2 * 21 + 9 + 9), (None, 21 + 4 * 21 + 9 + 9)])
def test_each_view_passes_the_encoder_once(run, settings, monkeypatch, views, passes):
    """Besides, the train images pass once without augmentation: the head's standardisation is fitted to them."""
    seen = []
    forward = Encoder.forward
    monkeypatch.setattr(Encoder, "forward", lambda self, images: seen.append(len(images)) or forward(self, images))
    schedule = settings["finetune"].frozen.model_copy(update={"epochs": 4})
    run("vae", "frozen", finetune=changed_finetune(settings, frozen=schedule, views=views, patience=9))
    assert sum(seen) == passes


def test_epochs_go_through_the_views_in_turn(run, settings):
    """Views are drawn by epoch's number modulo theirs, so as many views as epochs differ from fewer."""
    schedule = settings["finetune"].frozen.model_copy(update={"epochs": 4})
    changed = {views: changed_finetune(settings, frozen=schedule, views=views, patience=9) for views in (0, 1, 2, 4)}
    results = [run("vae", "frozen", finetune=each) for each in changed.values()]
    assert len({result["last"]["fit/loss"] for result in results}) == 4
    assert len({result["augmentation_sha256"] for result in results}) == 4
    assert len({result["first"]["fit/loss"] for result in results[1:]}) == 1  # the first view is the same


@pytest.mark.parametrize("views", [0, 2, None])
def test_an_interrupted_frozen_run_goes_on_to_the_same_classifier(run, settings, paths, monkeypatch, views):
    changed = changed_finetune(settings, views=views, ema=0.7)
    expected = run("twin", "frozen", finetune=changed)
    monkeypatch.setattr(SilentLog, "track", stop_in_second_epoch)
    with pytest.raises(KeyError, match="killed"):
        run("vae", "frozen", finetune=changed)
    monkeypatch.undo()
    assert run("vae", "frozen", finetune=changed) == expected
    weights, twin = weights_of(paths, "vae-frozen-0"), weights_of(paths, "twin-frozen-0")
    assert all(torch.equal(weights[key], twin[key]) for key in weights)
