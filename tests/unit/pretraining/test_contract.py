"""The contract of every method in components/pretraining: a new folder is tested without a change here."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic_core import to_jsonable_python

from components.base.errors import TrainingError
from components.base.families import load_member, members
from components.base.licence import Licence
from components.base.log import SilentLog
from components.data.pixels import read_pixels
from components.models.backbone import CpuProfile
from components.models.encoder import weights_sha256
from components.models.own_architecture import own_architecture
from components.models.weights_file import load_encoder, save_encoder
from components.pretraining import BringsBackbone, Method, TrainingTask, choose_architecture
from tests.unit.pretraining.small_pretraining import (
    SESSION,
    SIDE,
    InterruptedLog,
    Lite,
    PowerCutError,
    draw_encoder,
)

FAMILY = "pretraining"
BACKBONE = Lite()  # the one whose published weights are installed


def example(name: str) -> Method:
    """The method with the settings that it gives for tests."""
    module = load_member(FAMILY, name)
    return module.Config(**getattr(module, "EXAMPLE", {}))


def pixels(folder):
    return {"train": read_pixels(folder / "train", folder / "unlabelled"), "val": read_pixels(folder / "val")}


def fit(name, folder, session=SESSION, log=None):
    method, log = example(name), log or SilentLog()
    backbone = choose_architecture(method, BACKBONE)
    encoder = draw_encoder(backbone)
    return encoder, method.fit(encoder, backbone=backbone, **pixels(folder), session=session, log=log), log


@pytest.fixture(scope="module", params=members(FAMILY))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(name, folder):
    return fit(name, folder)


@pytest.fixture
def task(name, folder) -> TrainingTask | None:
    method = example(name)
    return method.learner(draw_encoder(choose_architecture(method, BACKBONE)), pixels(folder)["train"], SESSION)


def test_the_family_is_found():
    assert {"colour", "distill", "imagenet", "pca", "random", "simclr", "supervised", "vae"} <= set(members(FAMILY))


def test_kind_is_the_name_of_the_folder(name):
    assert load_member(FAMILY, name).Config.model_fields["kind"].default == example(name).kind == name


def test_the_first_line_says_what_it_is(name):
    assert (load_member(FAMILY, name).__doc__ or "").partition("\n")[0].strip()


def test_settings_are_plain_values(name):
    method = example(name)
    assert type(method)(**method.model_dump(mode="json")) == method


def test_importing_settings_imports_no_torch(repo):
    code = (
        "import sys\n"
        "from components.base.families import load_member, members\n"
        f"for name in members({FAMILY!r}):\n"
        f"    load_member({FAMILY!r}, name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=repo, check=True)


def test_the_licence_of_its_weights_is_stated(name):
    licence = example(name).licence
    assert licence is None or isinstance(licence, Licence)
    if licence is not None:
        assert all((licence.name, licence.citation, licence.home, licence.terms))


def test_it_is_stated_whether_it_is_a_baseline(name):
    assert isinstance(example(name).baseline, bool)


def test_an_architecture_of_its_own_is_named_after_the_folder_and_found_by_its_settings(name):
    """Files of weights hold these settings alone; no backbone of the settings may have the name."""
    method = example(name)
    if not isinstance(method, BringsBackbone):
        assert choose_architecture(method, BACKBONE) is BACKBONE
        return
    assert method.backbone.kind == name and name not in members("models.backbones")
    assert own_architecture(to_jsonable_python(method.backbone), Path("x")) == method.backbone
    assert isinstance(method.backbone.cpu, CpuProfile)


def test_features_after_fit_are_finite(fitted):
    encoder, _, _ = fitted
    features = encoder.eval()(torch.rand(2, 3, SIDE, SIDE))
    assert features.shape == (2, encoder.feature_dim)
    assert features.isfinite().all()


def test_fit_logs_the_origin_of_the_weights(fitted):
    assert fitted[2].words["weights/source"]


def test_each_epoch_has_the_same_finite_numbers(fitted):
    _, curve, _ = fitted
    assert all(set(row) == set(curve[0]) for row in curve)
    assert all(np.isfinite(value) for row in curve for value in row.values())


def test_there_is_a_learner_where_something_is_trained(fitted, task):
    assert bool(fitted[1]) == (task is not None)


def test_saved_and_loaded_gives_the_same_features(fitted, name, tmp_path):
    encoder = fitted[0].eval()
    backbone = choose_architecture(example(name), BACKBONE)
    save_encoder(tmp_path / "encoder.safetensors", encoder, backbone, {"arm": name, "settings": {}})
    loaded = load_encoder(tmp_path / "encoder.safetensors", BACKBONE).eval()
    for each in (encoder, loaded):
        SESSION.place(each)  # one memory layout: another one rounds differently
    images = torch.rand(2, 3, SIDE, SIDE)
    assert torch.equal(loaded(images), encoder(images))


def test_the_same_seed_gives_the_same_weights(fitted, name, folder):
    torch.rand(5)  # the method draws from its session's seed, not from the state that others left
    again, curve, _ = fit(name, folder)
    assert weights_sha256(again) == weights_sha256(fitted[0])
    assert curve == fitted[1]


def test_another_seed_gives_other_weights_where_something_is_trained(fitted, name, folder, task):
    if task is None:
        pytest.skip("nothing is trained")
    other, _, _ = fit(name, folder, replace(SESSION, seed=1))
    assert weights_sha256(other) != weights_sha256(fitted[0])


def test_killed_and_resumed_equals_straight(fitted, name, folder, task, tmp_path):
    if task is None:
        pytest.skip("nothing is trained")
    session = replace(SESSION, checkpoint=tmp_path / "state")
    with pytest.raises(PowerCutError):
        fit(name, folder, session, InterruptedLog())
    resumed, curve, _ = fit(name, folder, session)
    assert weights_sha256(resumed) == weights_sha256(fitted[0])
    assert curve == fitted[1]


def test_missing_validation_images_are_named(name, folder, task):
    if task is None:
        pytest.skip("nothing is trained")
    given = pixels(folder)
    empty = {**given, "val": given["val"].rows(np.arange(0))}
    encoder = draw_encoder(choose_architecture(example(name), BACKBONE))
    with pytest.raises(TrainingError, match=r"0 validation images, expected \d or more to measure; raise split.val"):
        example(name).fit(encoder, backbone=BACKBONE, **empty, session=SESSION, log=SilentLog())


@pytest.mark.parametrize("fixed", ["colour", "imagenet", "pca", "random"])
def test_weights_that_are_given_do_not_depend_on_the_seed(fixed, folder):
    one, other = (fit(fixed, folder, replace(SESSION, seed=seed))[0] for seed in (0, 1))
    assert weights_sha256(one) == weights_sha256(other)


def test_every_parameter_of_the_learner_gets_a_gradient(task):
    if task is None:
        pytest.skip("nothing is trained")
    loss = task.module.train().training_step(next(iter(task.batches(0))), 0)["loss"]
    assert loss.isfinite()
    loss.backward()
    assert not [name for name, weight in task.module.named_parameters() if weight.requires_grad and weight.grad is None]


def test_batches_are_a_pure_function_of_the_epoch(task):
    if task is None:
        pytest.skip("nothing is trained")
    first, again, second = list(task.batches(0)), list(task.batches(0)), list(task.batches(1))
    assert len(first) == len(second) == task.steps_per_epoch
    assert all(torch.equal(a, b) for a, b in zip(tensors(first), tensors(again), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(tensors(first), tensors(second), strict=True))


def tensors(batches) -> list[torch.Tensor]:
    found = []
    for batch in batches:
        found += [batch] if isinstance(batch, torch.Tensor) else [part for part in batch if torch.is_tensor(part)]
    return found


def test_fit_trains_what_learner_builds(name, folder, task, monkeypatch):
    """The profiler measures the same module that the stage trains."""
    if task is None:
        pytest.skip("nothing is trained")
    built, config = [], type(example(name))
    build = config.learner
    monkeypatch.setattr(config, "learner", lambda *given: built.append(build(*given)) or built[-1])
    encoder, _, _ = fit(name, folder)
    assert len(built) == 1
    assert any(part is encoder for part in built[0].module.modules())
