"""The protocol lpft: the head first, then the whole classifier from the best epoch of the head."""

from __future__ import annotations

import pandas as pd
import pytest
import torch

from components.base.log import SilentLog
from components.models.weights_file import read_tensors
from tests.unit.flows.small_finetuning import changed_finetune, encoder_of, fingerprints, weights_of


def _head_first(settings, head: dict, full: dict, **changes):
    lpft = settings["finetune"].lpft
    schedules = {
        name: getattr(lpft, name).model_copy(update=change) for name, change in {"head": head, "full": full}.items()
    }
    return changed_finetune(settings, lpft=lpft.model_copy(update=schedules), **changes)


@pytest.mark.parametrize("views", [2, None])
def test_lpft_probes_like_frozen_and_then_moves_the_encoder(run, settings, paths, views):
    changed = _head_first(settings, {}, {"learning_rate": 0.003}, views=views, monitor="accuracy")
    probe = run("vae", "frozen", finetune=changed)
    log = SilentLog()
    metrics = run("vae", "lpft", log=log, finetune=changed)
    curves = {p: pd.read_csv(paths.curves / "finetune" / f"vae-{p}-0.csv") for p in ("frozen", "lpft")}
    pd.testing.assert_frame_equal(curves["lpft"].iloc[:2], curves["frozen"])
    assert metrics["epochs"] == 4 and list(curves["lpft"]["epoch"]) == [1, 2, 3, 4]
    assert [step for step, _ in log.points] == [1, 2, 3, 4]
    assert probe["head_init_sha256"] == metrics["head_init_sha256"]
    before, after = read_tensors(paths.encoders / "vae-0.safetensors"), encoder_of(paths, "vae-lpft-0")
    moved = any(not torch.equal(before[name], after[name]) for name in before)
    assert moved == (metrics["best_epoch"] >= 3)
    assert metrics["best"]["val/accuracy"] == curves["lpft"]["val/accuracy"].max()


def test_lpft_begins_fine_tuning_at_the_best_probe(run, settings, paths):
    """At a learning rate of almost nothing the third epoch measures what the best probe did, but for BatchNorm."""
    run(
        "vae",
        "lpft",
        finetune=_head_first(settings, {"learning_rate": 0.05}, {"learning_rate": 1e-12, "epochs": 1}, freeze=4),
    )
    curve = pd.read_csv(paths.curves / "finetune" / "vae-lpft-0.csv")
    best = curve["val/loss"].iloc[:2].min()
    assert curve["val/loss"].iloc[2] != best  # BatchNorm's statistics moved
    assert curve["val/loss"].iloc[2] == pytest.approx(best, rel=0.5)
    assert read_tensors(paths.classifiers / "vae-lpft-0.safetensors")


def test_lpft_keeps_the_probe_where_fine_tuning_only_spoils(run, settings, paths):
    changed = _head_first(settings, {}, {"learning_rate": 30.0})
    metrics = run("vae", "lpft", finetune=changed)
    assert metrics["best_epoch"] < 3
    before, after = read_tensors(paths.encoders / "vae-0.safetensors"), encoder_of(paths, "vae-lpft-0")
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("place", [", frozen, epoch 2", ", full, epoch 1", ", full, epoch 2"])
def test_an_interrupted_lpft_goes_on_to_the_same_classifier(run, settings, paths, monkeypatch, place):
    def stop(_self, items, _total, what):
        for number, item in enumerate(items):
            if place in what and number == 1:
                raise KeyError("killed")
            yield item

    changed = changed_finetune(settings, views=2, ema=0.7, mixup=0.3)
    expected = run("twin", "lpft", finetune=changed)
    monkeypatch.setattr(SilentLog, "track", stop)
    with pytest.raises(KeyError, match="killed"):
        run("vae", "lpft", finetune=changed)
    monkeypatch.undo()
    log = SilentLog()
    assert run("vae", "lpft", finetune=changed, log=log) == expected
    assert any("continuing after epoch" in line for line in log.lines)
    weights, twin = weights_of(paths, "vae-lpft-0"), weights_of(paths, "twin-lpft-0")
    assert all(torch.equal(weights[key], twin[key]) for key in weights)
    by_image = [(paths.epoch_losses / f"{arm}-lpft-0.parquet").read_bytes() for arm in ("vae", "twin")]
    assert by_image[0] == by_image[1]
    assert sorted({step for step, _ in log.points}) == [1, 2, 3, 4]
    assert not (paths.checkpoints / "finetune" / "vae-lpft-0").exists()


def test_arms_under_lpft_differ_in_the_encoder_alone(run):
    first, other = run("vae", "lpft"), run("random", "lpft")
    assert fingerprints(first) == fingerprints(other) and first["last"] != other["last"]
    assert run("twin", "lpft") == first
