"""Priors: against Bayes' rule on known densities, and against a model that is trained with the wanted prior."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from components.statistics.prior import change_prior, class_frequencies, training_prior

shares = st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(lambda values: np.array(values) / sum(values))


@given(shares, shares, st.lists(st.floats(-4, 4), min_size=1, max_size=20))
def test_it_is_bayes_rule_of_known_densities(trained, wanted, places):
    """Three classes with normal densities: posteriors under one prior become those under the other."""
    density = np.stack([norm.pdf(places, mean) for mean in (-1, 0, 2)], axis=1)  # (N, 3)
    posterior = [density * prior / (density * prior).sum(1, keepdims=True) for prior in (trained, wanted)]
    np.testing.assert_allclose(change_prior(posterior[0], trained, wanted), posterior[1], rtol=1e-9)


@given(shares, shares, shares)
def test_changes_of_the_prior_compose_and_return(first, second, third):
    p = np.array([[0.2, 0.5, 0.3], [0.9, 0.05, 0.05]])
    there = change_prior(p, first, second)
    np.testing.assert_allclose(change_prior(there, second, third), change_prior(p, first, third), rtol=1e-9)
    np.testing.assert_allclose(change_prior(there, second, first), p, rtol=1e-9)


def test_an_equal_prior_changes_no_bit():
    p = np.random.default_rng(0).dirichlet(np.ones(4), 50)
    prior = np.array([0.1, 0.2, 0.3, 0.4])
    assert change_prior(p, prior, prior) is p


def test_restoring_the_prior_improves_the_log_loss_of_a_balanced_model():
    """A model that is right for balanced classes, on images with 80, 15 and 5 % of three classes."""
    rng = np.random.default_rng(1)
    frequencies = np.array([0.8, 0.15, 0.05])
    labels = rng.choice(3, 4000, p=frequencies)
    places = rng.normal(np.array([-1.0, 0.0, 2.0])[labels])
    density = np.stack([norm.pdf(places, mean) for mean in (-1, 0, 2)], axis=1)
    balanced = density / density.sum(1, keepdims=True)
    restored = change_prior(balanced, training_prior("weights", frequencies), frequencies)
    losses = [-np.log(p[np.arange(len(labels)), labels]).mean() for p in (balanced, restored)]
    assert losses[1] < losses[0]
    np.testing.assert_allclose(restored.mean(0), frequencies, atol=0.02)  # balanced says 0.58 for the first
    assert abs(balanced.mean(0)[0] - 0.8) > 0.1


def test_the_training_prior_follows_how_rare_classes_are_treated():
    frequencies = np.array([0.7, 0.3, 0.0])
    np.testing.assert_allclose(training_prior("weights", frequencies), [0.5, 0.5, 0])
    np.testing.assert_allclose(training_prior("sampling", frequencies), [0.5, 0.5, 0])
    for imbalance in ("none", "focal"):
        assert training_prior(imbalance, frequencies) is frequencies


def test_a_class_that_was_not_trained_is_refused():
    with pytest.raises(ValueError, match="no train image"):
        change_prior(np.array([[0.5, 0.5]]), np.array([1.0, 0.0]), np.array([0.5, 0.5]))


def test_frequencies_are_counted():
    np.testing.assert_allclose(class_frequencies(np.array([0, 0, 2, 2]), 4), [0.5, 0, 0.5, 0])
    with pytest.raises(ValueError, match="no image"):
        class_frequencies(np.array([], dtype=int), 3)
