"""Distillation: the teacher's targets, the error against scikit-learn, alarms; a student learns its teacher."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_squared_error
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from components.base.errors import WeightsError
from components.base.log import SilentLog
from components.models.encoder import to_tensor
from components.models.initial_weights import initialise
from components.pretraining import distill
from components.pretraining.distill.teacher import Standardisation, TeacherNetwork, enlarge
from tests.unit.pretraining.small_pretraining import BACKBONE, SESSION, SIDE, Lite, draw_encoder


def fit(train, val, log=None, backbone=BACKBONE, **changes):
    config, log = distill.Config(**{**distill.EXAMPLE, **changes}), log or SilentLog()
    curve = config.fit(draw_encoder(backbone), backbone=backbone, train=train, val=val, session=SESSION, log=log)
    return config, curve, log


def imagenet():
    encoder = draw_encoder(Lite())
    initialise(encoder, "imagenet", Lite())
    return encoder.eval()


def test_targets_are_standardised_by_train_and_silent_features_are_left_out():
    features = np.random.default_rng(0).normal(5, 3, (400, 6)).astype(np.float32)
    features[:, 2] = 7
    found = Standardisation.of(torch.from_numpy(features))(torch.from_numpy(features[:50]))
    scaler = StandardScaler().fit(np.delete(features, 2, axis=1))
    np.testing.assert_allclose(found.float(), scaler.transform(np.delete(features[:50], 2, axis=1)), atol=3e-3)
    assert found.dtype == torch.float16


def test_the_teacher_sees_enlarged_images(train):
    """Pixel by pixel: torch's interpolation of one image, at the teacher's size."""
    encoder = imagenet()
    teacher = TeacherNetwork.of(encoder, train, side=48)
    images = to_tensor(train.take(np.arange(3))).float()
    larger = functional.interpolate(images, size=(48, 48), mode="bilinear", antialias=True).round() / 255
    with torch.no_grad():
        expected = teacher.standardise(encoder(larger)).float()
    torch.testing.assert_close(teacher.targets(train)[:3].float(), expected, atol=0.02, rtol=0.01)
    torch.testing.assert_close(teacher.targets(train), teacher.train_targets)


def test_images_of_the_teachers_size_stay(train):
    batch = to_tensor(train.take(np.arange(3)))
    assert next(enlarge(iter([batch]), SIDE)) is batch


def test_the_error_is_that_of_scikit_learn_and_the_explained_share_follows(train, val):
    config = distill.Config(**distill.EXAMPLE)
    task = config.learner(draw_encoder(), train, SESSION)
    task.module.eval()
    targets = task.module.teacher.targets(val)
    images = to_tensor(val.take(np.arange(len(val))))
    row = distill._measure(task.module.student, val, targets, 0)
    with torch.no_grad():
        predicted = task.module.student(images.float() / 255).numpy()
    wanted = targets.double().numpy()
    error = mean_squared_error(wanted, predicted)
    assert row["val/error"] == pytest.approx(error, rel=1e-4)
    assert row["val/explained"] == pytest.approx(1 - error / wanted.var(axis=0).mean(), abs=1e-4)


def test_a_student_learns_what_its_teacher_sees_in_the_train_images(train, val):
    """Of 26 images nothing can be learned for others."""
    _, curve, log = fit(train, val, epochs=40, batch_size=26, learning_rate=0.003, jitter=0.0)
    assert curve[0]["fit/loss"] > 1 and curve[-1]["fit/loss"] < 0.5
    assert any(line.startswith("distillation: predicts ") for line in log.lines)


def test_the_origin_and_the_licence_are_those_of_the_teacher(train, val):
    config, _, log = fit(train, val)
    origin = "distilled from package weights of efficientnet_lite0 into random weights, seed 0"
    assert log.words["weights/source"] == origin and config.licence.licence == "Apache-2.0"


def test_the_teacher_is_no_part_of_the_resume_state(train):
    task = distill.Config(**distill.EXAMPLE).learner(draw_encoder(), train, SESSION)
    assert all(name.startswith("student.") for name in task.module.state_dict())


def test_a_missing_teacher_is_named(train, val):
    weights = {"source": "file", "file": "teacher.safetensors", "sha256": "a" * 64}
    with pytest.raises(WeightsError, match=r"teacher.safetensors: is not there"):
        fit(train, val, teacher={"backbone": {"kind": "efficientnet_lite0"}, "weights": weights})


@pytest.mark.parametrize(
    ("explained", "words"),
    [
        ((0.1, 0.5, 0.51), []),
        ((-0.1, 0.05, 0.05), ["nothing learned: the student predicts 5.0% of the variance"]),
        ((0.1, 0.3, 0.5), ["not converged: the last of 3 epochs still added 50% of the whole rise of the explained"]),
    ],
)
def test_each_sign_raises_its_alarm(explained, words):
    alarms = distill.Config(**distill.EXAMPLE).alarms([{"val/explained": value} for value in explained])
    assert [alarm[: len(start)] for alarm, start in zip(alarms, words, strict=True)] == words
