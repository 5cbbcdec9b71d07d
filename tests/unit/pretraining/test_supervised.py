"""Training with labels: measures against scikit-learn, unlabelled images left out, errors and alarms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, log_loss
from torch.nn import functional

from components.base.errors import DataError, TrainingError
from components.base.log import SilentLog
from components.models.encoder import to_tensor
from components.pretraining import supervised
from tests.unit.pretraining.small_pretraining import BACKBONE, SESSION, draw_encoder


def fit(train, val, **changes):
    config, log = supervised.Config(**{**supervised.EXAMPLE, **changes}), SilentLog()
    return config.fit(draw_encoder(), backbone=BACKBONE, train=train, val=val, session=SESSION, log=log), log


def task_of(train, **changes):
    return supervised.Config(**{**supervised.EXAMPLE, **changes}).learner(draw_encoder(), train, SESSION)


def test_images_without_a_label_are_left_out_and_counted(train, val):
    _, log = fit(train, val)
    assert "supervised: 20 of 26 images have a label, the others are not used" in log.lines
    batches = list(task_of(train).batches(0))
    assert sum(len(images) for images, _ in batches) == 20


def test_each_image_has_its_own_label(train):
    task = task_of(train)
    labels = train.index.label.to_numpy()
    known = {image.tobytes(): label for image, label in zip(train.take(np.arange(26)), labels, strict=True)}
    for images, classes in task.batches(3):
        found = [known[image.permute(1, 2, 0).contiguous().numpy().tobytes()] for image in images]
        assert [["mel", "nv"][k] for k in classes] == found


def test_the_loss_is_torchs_with_weights_and_smoothing(train, monkeypatch):
    task = task_of(train, label_smoothing=0.1)
    images, classes = next(iter(task.batches(0)))
    logits = []
    task.module.classifier.register_forward_hook(lambda _m, _i, out: logits.append(out))
    loss = task.module.training_step((images, classes), 0)["loss"]
    # both classes are equally frequent here, so that every weight is 1
    assert float(loss.detach()) == pytest.approx(
        float(functional.cross_entropy(logits[0].detach(), classes, label_smoothing=0.1)), rel=1e-5
    )


def test_measures_are_those_of_scikit_learn(train, val):
    task = task_of(train)
    task.module.eval()
    row = supervised._measure(task.module.classifier, val, ["mel", "nv"], 0)
    with torch.no_grad():
        logits = task.module.classifier(to_tensor(val.take(np.arange(len(val)))).float() / 255)
    chances = logits.double().softmax(dim=1).numpy()
    truth = val.labels(["mel", "nv"])
    assert row["val/balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, chances.argmax(axis=1)))
    assert row["val/log_loss"] == pytest.approx(log_loss(truth, chances), rel=1e-5)
    assert row["val/guessing"] == 0.5


def test_it_learns_its_labels(train, val):
    curve, _ = fit(train, val, epochs=30, batch_size=20, learning_rate=0.003, jitter=0.0, least_area=1.0)
    assert curve[-1]["fit/loss"] < 0.8 * curve[0]["fit/loss"]


def relabelled(pixels, label):
    return replace(pixels, index=pixels.index.assign(label=label))


def test_one_class_alone_is_refused(train, val):
    with pytest.raises(TrainingError, match=r"supervised: train images have the labels \['nv'\], expected two or more"):
        fit(relabelled(train, "nv"), val)


def test_a_class_that_train_lacks_is_named(train, val):
    with pytest.raises(DataError, match=r"label 'bcc', expected one of \['mel', 'nv'\]"):
        fit(train, relabelled(val, "bcc"))


@pytest.mark.parametrize(
    ("losses", "accuracy", "words"),
    [
        ((2.0, 0.8, 0.79), 0.7, []),
        ((2.0, 0.8, 0.9), 0.7, []),  # it rises: overfitting, which the study measures
        ((2.0, 1.5, 1.0), 0.7, ["not converged: the last of 3 epochs still added 50% of the whole fall of the log"]),
        ((2.0, 0.8, 0.79), 0.4, ["nothing learned: the balanced accuracy on val is 40.0%, guessing gives 50.0%"]),
    ],
)
def test_each_sign_raises_its_alarm(losses, accuracy, words):
    curve = [{"val/log_loss": loss, "val/balanced_accuracy": accuracy, "val/guessing": 0.5} for loss in losses]
    alarms = supervised.Config().alarms(curve)
    assert [alarm[: len(start)] for alarm, start in zip(alarms, words, strict=True)] == words
