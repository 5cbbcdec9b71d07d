"""The null lines: against scikit-learn's dummy classifier, and HAM10000's published class counts."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier
from sklearn.metrics import accuracy_score, balanced_accuracy_score, brier_score_loss, log_loss

from components.statistics.null_model import is_below, null_lines

HAM10000 = {"akiec": 327, "bcc": 514, "bkl": 1099, "df": 115, "mel": 1113, "nv": 6705, "vasc": 142}


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_dummy_classifier_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    train, test = (np.concatenate([np.arange(4), rng.choice(4, 200, p=[0.5, 0.3, 0.15, 0.05])]) for _ in range(2))
    dummy = DummyClassifier(strategy="prior").fit(np.zeros((len(train), 1)), train)
    p, answers = dummy.predict_proba(np.zeros((len(test), 1))), dummy.predict(np.zeros((len(test), 1)))
    found = null_lines(test, np.bincount(train) / len(train))
    assert found["log_loss"] == pytest.approx(log_loss(test, p, labels=range(4)), rel=1e-12)
    assert found["accuracy"] == accuracy_score(test, answers)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(test, answers))
    one_by_one = sum(brier_score_loss(test == k, p[:, k]) for k in range(4))
    assert found["brier"] == pytest.approx(one_by_one, rel=1e-12)


def test_the_lines_of_ham10000():
    counts = np.array(list(HAM10000.values()))
    labels = np.repeat(np.arange(7), counts)
    found = null_lines(labels, counts / counts.sum())
    assert found["log_loss"] == pytest.approx(1.131, abs=5e-3)
    assert found["accuracy"] == pytest.approx(0.669, abs=1e-3)
    assert found["balanced_accuracy"] == pytest.approx(1 / 7)


def test_below_is_worse():
    assert is_below("log_loss", 1.2, 1.1)
    assert not is_below("log_loss", 1.0, 1.1)
    assert is_below("accuracy", 0.6, 0.669)
    assert not is_below("accuracy", 0.7, 0.669)
