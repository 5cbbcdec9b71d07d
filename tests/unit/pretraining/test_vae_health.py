"""Alarms of a training of the VAE: each is raised by its own sign alone."""

from __future__ import annotations

import pytest

from components.pretraining.vae.health import find_alarms

SOUND = {"val/active_units": 20.0, "val/kl": 40.0, "val/explained": 0.7, "val/explained_pca": 0.9}
ELBO = (-200.0, -120.0, -102.0, -100.0)


def curve(elbo=ELBO, **changes):
    return [{**SOUND, "val/elbo": each, **{f"val/{name}": value for name, value in changes.items()}} for each in elbo]


def test_a_sound_training_has_no_alarm():
    assert find_alarms(curve(), latents=64) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"active_units": 6.0, "kl": 0.31}, "posterior collapse: 6 of 64 latents are active"),
        ({"elbo": (-200.0, -120.0, -100.0)}, "not converged: the last of 3 epochs still added 20% of the whole"),
        ({"explained": -0.02}, "dead decoder: reconstructions of val explain no more than the mean image (-2.0%"),
        ({"explained": 0.4}, "dead decoder: reconstructions explain 40.0% of the variance of val"),
    ],
)  # fmt: skip
def test_each_sign_raises_its_alarm(changes, words):
    (alarm,) = find_alarms(curve(**changes), latents=64)
    assert alarm.startswith(words)


def test_an_alarm_states_what_it_compared():
    (collapse,) = find_alarms(curve(active_units=1.0, kl=0.31), latents=64)
    assert "(expected 10% or more), the KL is 0.31 nats an image" in collapse
    (dead,) = find_alarms(curve(explained=0.4), latents=64)
    assert "PCA with 64 components 90.0% (expected 50% of that or more)" in dead
