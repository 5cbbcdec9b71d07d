"""SimCLR: pairs, the loss against a sum by hand, what is measured, alarms, figure."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch

from components.base.log import SilentLog
from components.pretraining import simclr
from components.pretraining.simclr.learner import mean_spread, measure, share_found
from components.pretraining.simclr.pairs import count_lesions_with_pairs, draw_pairs
from tests.unit.pretraining.small_pretraining import BACKBONE, SESSION, Lite, draw_encoder


def fit(train, val, log=None, **changes):
    config, encoder, log = simclr.Config(**{**simclr.EXAMPLE, **changes}), draw_encoder(), log or SilentLog()
    return config, config.fit(encoder, backbone=BACKBONE, train=train, val=val, session=SESSION, log=log)


def table(*lesions):
    return pd.DataFrame({"image_id": [f"i{row}" for row in range(len(lesions))], "lesion_id": list(lesions)})


LESIONS = table("a", "b", "a", "c", "a", "c", None, None, "")
NAMES = ["a", "b", "a", "c", "a", "c", "image 6", "image 7", "image 8"]


def test_an_image_is_paired_with_itself():
    assert draw_pairs(LESIONS, "image", np.random.default_rng(0)).tolist() == [[row, row] for row in range(9)]


def test_each_lesion_gives_one_pair_of_two_of_its_images():
    """Three lesions, and three images of none, of which each counts as a lesion of its own."""
    seen = set()
    for seed in range(200):
        pairs = draw_pairs(LESIONS, "lesion", np.random.default_rng(seed))
        by_lesion = {NAMES[one]: (one, other) for one, other in pairs.tolist()}
        assert len(pairs) == len(by_lesion) == 6
        assert by_lesion["b"] == (1, 1) and sorted(by_lesion["c"]) == [3, 5]
        assert {(6, 6), (7, 7), (8, 8)} <= {tuple(pair) for pair in pairs.tolist()}
        seen.add(by_lesion["a"])
    assert seen == {(i, j) for i in (0, 2, 4) for j in (0, 2, 4) if i != j}  # every ordered pair comes up
    assert count_lesions_with_pairs(LESIONS) == 2


def by_hand(first, second, temperature):
    """Chen et al. 2020, eq. 1, view by view."""
    views = [view / np.linalg.norm(view) for view in np.concatenate([first, second])]
    count, losses = len(first), []
    for i, view in enumerate(views):
        partner = (i + count) % (2 * count)
        others = sum(math.exp(view @ views[k] / temperature) for k in range(2 * count) if k != i)
        losses.append(-math.log(math.exp(view @ views[partner] / temperature) / others))
    return sum(losses) / len(losses)


def test_the_loss_is_that_of_the_paper(train, monkeypatch):
    config = simclr.Config(**simclr.EXAMPLE, temperature=0.3)
    task = config.learner(draw_encoder(), train, SESSION)
    kept = []
    monkeypatch.setattr(
        task.module, "project", lambda batch, _old=task.module.project: kept.append(_old(batch)) or kept[0]
    )
    loss = float(task.module.training_step(next(iter(task.batches(0))), 0)["loss"].detach())
    first, second = (views.detach().double().numpy() for views in kept[0])
    assert loss == pytest.approx(by_hand(first, second, 0.3), rel=1e-5)


def test_found_and_spread_have_their_values_at_both_ends():
    corners = torch.eye(6)
    assert float(share_found(corners, corners)) == 1
    assert float(share_found(corners, corners.roll(1, 0))) == 0
    torch.manual_seed(0)
    assert mean_spread(torch.randn(20000, 16)) == pytest.approx(1, abs=0.01)
    assert mean_spread(torch.ones(50, 16)) == pytest.approx(0, abs=1e-6)


def test_it_learns_to_find_partners(train, val):
    easy = {"batch_size": 26, "jitter": 0.0, "least_area": 0.9}  # one batch an epoch, of views that differ little
    _, curve = fit(train, val, epochs=15, learning_rate=0.003, **easy)
    loss, found = ([row[f"fit/{name}"] for row in curve] for name in ("loss", "found"))
    assert np.mean(loss[-3:]) < 0.85 * np.mean(loss[:3])
    assert np.mean(found[-3:]) > 3 / 51  # three times what guessing among 51 other views gives


def test_measuring_gives_the_same_each_time_and_leaves_the_random_state(train, val):
    config = simclr.Config(**simclr.EXAMPLE)
    task = config.learner(draw_encoder(), train, SESSION)
    task.module.eval()
    torch.manual_seed(5)
    batches = list(task.batches(0))
    one = measure(task.module, batches)
    drawn = torch.rand(1)
    again = measure(task.module, batches)
    torch.manual_seed(5)
    assert one == again and torch.equal(drawn, torch.rand(1))
    pairs = [len(batch[0]) for batch in batches]
    assert one["chance"] == pytest.approx(np.average([math.log(2 * n - 1) for n in pairs], weights=pairs))


SOUND = [{"val/contrast": value, "val/chance": 4.8, "val/spread": 0.9} for value in (3.0, 1.1, 1.05, 1.04)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, None),
        ({"val/spread": 0.04}, "collapse: projections of val have 0.04 of the spread of a whole sphere"),
        ({"val/chance": 1.1}, "nothing learned: the contrastive loss on val is 1.04 nats, equal projections have 1.10"),
    ],
)
def test_each_sign_raises_its_alarm(change, words):
    alarms = simclr.Config().alarms([{**row, **change} for row in SOUND])
    assert [alarm[: len(words or "")] for alarm in alarms] == ([] if words is None else [words])


def test_a_loss_that_still_falls_is_said():
    (alarm,) = simclr.Config().alarms(SOUND[:2])
    assert alarm.startswith("not converged: the last of 2 epochs still added 100% of the whole fall of the contrastive")


def test_lesions_with_pairs_are_counted_and_the_views_are_drawn(train, val):
    log = SilentLog()
    fit(train, val, log=log, pairs="lesion")
    assert "SimCLR: 0 lesions have two images or more" in log.lines and list(log.figures) == ["views.png"]


def test_frozen_norm_needs_published_weights(train, val):
    with pytest.raises(ValueError, match=r"frozen_norm: true needs published weights, whose statistics it keeps"):
        simclr.Config(frozen_norm=True)
    config, backbone = simclr.Config(**simclr.EXAMPLE, init="imagenet", frozen_norm=True), Lite()
    encoder, given = draw_encoder(backbone), draw_encoder(backbone)
    config.fit(encoder, backbone=backbone, train=train, val=val, session=SESSION, log=SilentLog())
    from components.models.initial_weights import initialise

    initialise(given, "imagenet", backbone)
    before, after = dict(given.named_buffers()), dict(encoder.named_buffers())
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(given.trunk.conv_stem.weight, encoder.trunk.conv_stem.weight)
