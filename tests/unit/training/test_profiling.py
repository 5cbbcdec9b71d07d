"""The profiler against layers, loaders and steps whose time is known, since they sleep."""

from __future__ import annotations

import json
import time

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from components.base.errors import TrainingError
from components.models.backbone import CpuProfile
from components.training import profiling
from components.training.profiling import describe, profile_steps
from tests.unit.flows.small_study import build
from tests.unit.training.small_settings import cpu_session

STEPS = 6
FORWARD, BACKWARD, AROUND = 0.020, 0.035, 0.010  # seconds that layers sleep


class Sleeper(nn.Module):
    """Notes how long each sleep really was: a busy machine wakes a process late."""

    def __init__(self) -> None:
        super().__init__()
        self.slept = []  # seconds: of the step that warms up, of those that are timed, of those that are traced

    def sleep(self, seconds):
        began = time.perf_counter()
        time.sleep(seconds)
        self.slept.append(time.perf_counter() - began)

    @property
    def timed(self):
        return sum(self.slept[1 : 1 + STEPS]) / STEPS

    @property
    def traced(self):
        return sum(self.slept[1 + STEPS :]) / STEPS


class SleepForward(Sleeper):
    def forward(self, inputs):
        self.sleep(FORWARD)
        return inputs * 2


class SleepBackward(Sleeper):
    class _Identity(torch.autograd.Function):
        @staticmethod
        def forward(context, inputs, sleeper):
            context.sleeper = sleeper
            return inputs.clone()

        @staticmethod
        def backward(context, gradient):
            context.sleeper.sleep(BACKWARD)
            return gradient.clone(), None

    def forward(self, inputs):
        return self._Identity.apply(inputs, self)


class Around(Sleeper):
    """Sleeps itself, and holds a layer that sleeps."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = SleepForward()

    def forward(self, inputs):
        self.sleep(AROUND)
        return self.inner(inputs) + 1


class Net(pl.LightningModule):
    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(8, 8)
        self.rest = nn.Sequential(*layers)
        self.began = []

    def training_step(self, batch, _):
        self.began.append(time.perf_counter())
        return {"loss": self.rest(self.first(batch)).square().mean()}

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 1e-3)
        schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _batches(_epoch: int, pause: float = 0.0):
    for _ in range(4):
        time.sleep(pause)
        yield torch.ones(5, 8)


def _profile(module, folder, batches=_batches, steps=STEPS, **named):
    cpu = CpuProfile(precision="32-true", channels_last=False)
    session = cpu_session(cpu)
    return profile_steps(module, batches, session, steps=steps, trace=folder / "trace.json", **named)


@pytest.fixture(scope="module")
def module():
    return Net(SleepForward(), SleepBackward(), Around())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("profile")


@pytest.fixture(scope="module")
def found(module, folder):
    return _profile(module, folder)


def _layer(found, name):
    (cost,) = [cost for cost in found.layers if cost.name == name]
    return cost


def test_the_phases_add_up_to_the_wall_time_of_the_steps(module, found):
    """The module noted when each step began: one that warms up, then those that are timed."""
    wall = (module.began[STEPS] - module.began[1]) / (STEPS - 1)
    assert found.seconds == pytest.approx(wall, rel=0.1)
    assert sum(found.phases.values()) == found.seconds
    assert found.steps == STEPS and len(module.began) == 1 + 2 * STEPS


def test_each_phase_has_what_sleeps_in_it(module, found):
    forward, backward, around = module.rest
    asleep = forward.timed + around.timed + around.inner.timed
    assert asleep <= found.phases["forward"] < asleep + 0.02
    assert backward.timed <= found.phases["backward"] < backward.timed + 0.02
    assert found.phases["optimiser"] < 0.01 and found.phases["data"] < 0.01


def test_images_a_second_are_those_of_the_timed_steps(found):
    assert found.images == 5 * STEPS
    assert found.images_per_second == pytest.approx(5 / found.seconds)


def test_a_layer_costs_what_it_sleeps_in_either_pass(module, found):
    forward, backward = _layer(found, "rest.0"), _layer(found, "rest.1")
    asleep, later = module.rest[0].traced, module.rest[1].traced
    assert asleep <= forward.forward < asleep + 0.01 and forward.backward < 0.005
    assert later <= backward.backward < later + 0.01 and backward.forward < 0.005
    assert [cost.name for cost in found.layers[:1]] == ["rest.1"]
    assert [cost.seconds for cost in found.layers] == sorted((cost.seconds for cost in found.layers), reverse=True)


def test_a_layers_cost_is_its_own_without_the_layers_within(module, found):
    around = module.rest[2]
    assert around.traced <= _layer(found, "rest.2").forward < around.traced + 0.008
    assert around.inner.traced <= _layer(found, "rest.2.inner").forward < around.inner.traced + 0.008


def test_layers_of_a_class_are_added_up(found):
    (slow,) = [cost for cost in found.classes if cost.name == "SleepForward"]
    assert slow.count == 2
    assert slow.forward == pytest.approx(_layer(found, "rest.0").forward + _layer(found, "rest.2.inner").forward)


def test_a_slow_loader_shows_as_waiting(tmp_path):
    found = _profile(Net(), tmp_path, lambda epoch: _batches(epoch, pause=0.05))
    assert found.data_wait > 0.8
    assert found.seconds == pytest.approx(0.05, rel=0.2)  # steps are hidden behind the making of the next batch


def test_a_loader_that_is_fast_enough_is_hidden_behind_the_steps(tmp_path):
    found = _profile(Net(SleepForward()), tmp_path, lambda epoch: _batches(epoch, pause=FORWARD / 2))
    assert found.data_wait < 0.2


def test_layers_cover_the_net(tmp_path):
    """A net whose layers do all the work: what they cost is the traced step."""
    layers = [nn.Linear(8, 512), *(nn.Linear(512, 512) for _ in range(4)), nn.ReLU()]
    found = _profile(Net(*layers), tmp_path, lambda _: [torch.ones(2048, 8)] * 4)
    covered = sum(cost.seconds for cost in found.layers)
    assert 0.75 < covered / found.traced <= 1
    linear = next(cost for cost in found.classes if cost.name == "Linear")
    assert linear.forward > 0 and linear.backward > linear.forward  # two products of matrices against one


def test_the_trace_opens_as_json_with_phases_and_named_layers(found, folder):
    assert found.layers
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    names = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    for name in (*profiling.PHASES, "layer: first", "layer: rest.0", "layer: rest.2.inner"):
        assert names.count(name) == STEPS, name
    spans = {e["name"]: e["dur"] for e in events if e.get("cat") == "user_annotation"}
    assert spans["layer: rest.0"] >= 1e6 * FORWARD


def test_a_frozen_network_outside_the_module_is_named_too(tmp_path):
    encoder = nn.Sequential(SleepForward())

    class Frozen(Net):
        def training_step(self, batch, number):
            with torch.no_grad():
                batch = encoder(batch)
            return super().training_step(batch, number)

    found = _profile(Frozen(), tmp_path, frozen={"encoder": encoder})
    asleep = encoder[0].traced
    assert asleep <= _layer(found, "encoder.0").forward < asleep + 0.01
    assert _layer(found, "first").seconds > 0


def test_hooks_are_removed(module, found):
    assert found.layers
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules())


def test_a_loader_without_batches_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="no batch to make a step with"):
        _profile(Net(), tmp_path, lambda _: [])


def test_the_lines_hold_phases_classes_layers_and_their_sum(found):
    lines = describe(found, top=2)
    assert lines[0].startswith(f"{found.images_per_second:.1f} img/s over {STEPS} steps")
    words = [line.split()[0] for line in lines[1:] if line]
    assert words[:5] == ["phase", *profiling.PHASES]
    assert words[-3:] == ["layer", "rest.1", found.layers[1].name]
    (total,) = [line.split() for line in lines if line.startswith("sum ")]
    assert float(total[-2]) == pytest.approx(1000 * sum(cost.seconds for cost in found.layers), abs=0.1)


def test_the_command_profiles_every_training_of_the_study(tmp_path, monkeypatch):
    from flows.commands.profile import profile

    monkeypatch.chdir(build(tmp_path))
    lines = []
    traces = profile(2, lines.append)
    assert [trace.stem for trace in traces] == ["finetune-frozen", "finetune-full", "pretrain-vae"]
    for trace in traces:
        names = {event["name"] for event in json.loads(trace.read_text())["traceEvents"]}
        assert any(name.startswith("layer: ") and "conv_stem" in name for name in names), trace
    shares = [float(line.split()[-1].rstrip("%")) for line in lines if line.strip().startswith("sum ")]
    assert len(shares) == 3
    assert min(shares) > 20  # a frozen encoder that is left out leaves 2; the rest depends on the machine


def test_a_frozen_study_with_cached_views_is_profiled_on_features(tmp_path, monkeypatch):
    from flows.commands.profile import profile

    monkeypatch.chdir(build(tmp_path, views=2))
    lines = []
    profile(2, lines.append)
    head = lines[lines.index("finetune-frozen: two short epochs of 2 steps") :]
    layers = "\n".join(head[: head.index("finetune-full: two short epochs of 2 steps")])
    assert "Standardisation" in layers and "Conv2d" not in layers
