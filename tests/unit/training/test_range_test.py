"""The range test on quadratics, whose every loss and whose bound of stability, 2 / curvature, are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from components.base.errors import TrainingError
from components.models.backbone import CpuProfile
from components.training import range_test
from components.training.figures import range_test as figure
from components.training.optimizers import adamw
from tests.unit.flows.small_study import build
from tests.unit.training.small_settings import cpu_session

FLOOR = 1.0  # the loss at the optimum, as real ones have


class Quadratic(pl.LightningModule):
    """curvature / 2 |w|^2 + FLOOR a coordinate: a gradient step multiplies w by 1 - rate * curvature."""

    def __init__(self, curvatures=(4.0,), peaks=(0.1,), start: float = 1.0) -> None:
        super().__init__()
        self.weights = torch.nn.ParameterList([torch.full((1,), start, dtype=torch.float64) for _ in curvatures])
        self.curvatures, self.peaks = curvatures, peaks
        self.batches_seen, self.distances = [], []

    def training_step(self, batch, _):
        self.batches_seen.append(float(batch[0]))
        self.distances.append(float(self.weights[0].detach().abs()))
        terms = [c / 2 * w.square().sum() for c, w in zip(self.curvatures, self.weights, strict=True)]
        return {"loss": sum(terms) + FLOOR}

    def configure_optimizers(self):
        groups = [{"params": [w], "lr": peak} for w, peak in zip(self.weights, self.peaks, strict=True)]
        optimizer = torch.optim.SGD(groups)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / 100)  # a warm-up
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _batches(epoch: int):
    return [torch.tensor([10.0 * epoch + step]) for step in range(4)]


def _run(module, **changes):
    cpu = CpuProfile(precision="32-true", channels_last=False)
    session = cpu_session(cpu)
    return range_test.run_range_test(
        module, _batches, session, **({"steps": 100, "lowest": 1e-4, "highest": 10.0} | changes)
    )


def _expected(curvatures, ratios, rates):
    """Losses by the recursion w <- (1 - rate * ratio * curvature) w from w = 1."""
    weights, losses = np.ones(len(curvatures)), []
    for rate in rates:
        losses.append(float((np.array(curvatures) / 2 * weights**2).sum() + FLOOR))
        weights *= 1 - rate * np.array(ratios) * np.array(curvatures)
    return losses


def test_every_loss_is_the_one_of_the_closed_form():
    found = _run(Quadratic())
    assert found.losses == pytest.approx(_expected([4.0], [1.0], found.rates), rel=1e-6)


def test_rates_rise_by_equal_factors_over_the_whole_range():
    found = _run(Quadratic(curvatures=(1e-6,)))
    assert len(found.rates) == 100 and found.rates[0] == pytest.approx(1e-4) and found.rates[-1] == pytest.approx(10)
    assert np.diff(np.log(found.rates)) == pytest.approx(math.log(1e5) / 99)


@pytest.mark.parametrize("curvature", [0.5, 4.0, 50.0])
def test_it_diverges_where_theory_says(curvature):
    """Beyond 2 / curvature each step leads further from the optimum, below it nearer."""
    module, bound = Quadratic(curvatures=(curvature,), start=3.0), 2 / curvature
    found = _run(module, lowest=bound / 100, highest=10 * bound)
    rates, distances = np.array(found.rates[:-1]), np.array(module.distances)
    nearer = distances[1:] < distances[:-1]
    assert found.diverged and found.rates[-1] > bound
    assert (nearer == (rates < bound)).all() and 0 < nearer.sum() < len(nearer)


@pytest.mark.parametrize("curvature", [0.5, 4.0, 50.0])
def test_a_range_that_ends_below_the_bound_does_not_diverge(curvature):
    found = _run(Quadratic(curvatures=(curvature,), start=3.0), highest=0.99 * 2 / curvature)
    assert not found.diverged and len(found.rates) == 100


def test_it_stops_soon_after_the_loss_has_climbed():
    """Adding FLOOR keeps the lowest smoothed loss near 1: the end is the first step at which it is above three."""
    found = _run(Quadratic())
    assert len(found.rates) < 100
    assert found.smoothed[-1] > 3 * min(found.smoothed) and found.smoothed[-2] <= 3 * min(found.smoothed)


def test_the_suggestion_is_a_tenth_of_the_rate_of_the_lowest_smoothed_loss():
    found = _run(Quadratic(start=3.0))
    best = min(range(len(found.smoothed)), key=found.smoothed.__getitem__)
    assert found.lowest == found.rates[best] and found.suggestion == pytest.approx(found.rates[best] / 10)
    assert 0.05 / 4 < found.suggestion < 0.5  # a peak that is stable: below 2 / curvature


def test_smoothing_is_a_weighted_mean_of_all_losses_so_far():
    found = _run(Quadratic(start=3.0))
    for step in (0, 1, 7, len(found.losses) - 1):
        weights = 0.9 ** np.arange(step, -1, -1)
        assert found.smoothed[step] == pytest.approx(np.average(found.losses[: step + 1], weights=weights))


def test_parameter_groups_keep_the_ratios_of_their_peaks():
    """Peaks 0.1 and 0.025 under a warm-up that has lowered both: the second learns at a quarter of the first's rate."""
    curvatures = (1.0, 8.0)
    found = _run(Quadratic(curvatures, peaks=(0.1, 0.025)))
    assert found.losses == pytest.approx(_expected(curvatures, [1.0, 0.25], found.rates), rel=1e-6)


def test_it_goes_on_into_further_epochs():
    module = Quadratic(curvatures=(1e-6,))
    _run(module, steps=10)
    assert module.batches_seen == [0, 1, 2, 3, 10, 11, 12, 13, 20, 21]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 9}, "9 steps .*expected 10 at least"),
        ({"lowest": 0.0}, "from 0 to 10, .*rising rates above 0"),
        ({"lowest": 1.0, "highest": 0.1}, "from 1 to 0.1, .*rising rates above 0"),
    ],
)
def test_what_gives_no_curve_is_refused(changes, message):
    with pytest.raises(TrainingError, match=message):
        _run(Quadratic(), **changes)


def test_a_loss_that_is_no_number_ends_the_test_and_is_not_the_lowest():
    class Breaks(Quadratic):
        def training_step(self, batch, number):
            loss = super().training_step(batch, number)["loss"]
            return {"loss": loss * (math.nan if number == 40 else 1)}

    found = _run(Breaks(curvatures=(0.01,)))
    assert len(found.losses) == 41 and found.diverged
    assert found.lowest == found.rates[39]


def test_a_loss_that_is_no_number_from_the_start_is_an_error():
    with pytest.raises(TrainingError, match="the loss is nan before the first step"):
        _run(Quadratic(start=math.nan))


def test_the_same_test_gives_the_same_curve():
    class Drops(Quadratic):
        def training_step(self, batch, number):
            kept = torch.nn.functional.dropout(torch.ones(8), 0.5).mean()
            return {"loss": super().training_step(batch, number)["loss"] * kept}

    assert _run(Drops(start=3.0)) == _run(Drops(start=3.0))


def test_adamw_with_its_schedule_can_be_tested():
    class Adam(Quadratic):
        def configure_optimizers(self):
            return adamw(self, 0.01, 0.0, total_steps=50)

    found = _run(Adam(start=1.0), highest=100.0)
    assert found.diverged and 0.001 < found.suggestion < 10


def test_the_figure_shows_the_curve_and_the_suggestion():
    found = _run(Quadratic(start=3.0))
    (axes,) = figure.draw(found).axes
    points, line, upright = axes.lines
    assert list(points.get_ydata()) == list(found.losses) and list(line.get_ydata()) == list(found.smoothed)
    assert list(upright.get_xdata()) == [found.suggestion] * 2
    low, high = axes.get_ylim()
    assert low < min(found.losses) < found.losses[0] < high < found.losses[-1] * 10


def test_the_command_tests_an_arm_and_draws_it(tmp_path, monkeypatch):
    from components.models.weights_file import save_encoder
    from flows.commands.profile import find_rate
    from flows.settings import load_settings

    monkeypatch.chdir(build(tmp_path))
    settings = load_settings()
    torch.manual_seed(0)
    folder = settings.paths.encoders
    save_encoder(folder / "random-0.safetensors", settings.backbone.build(), settings.backbone, {"arm": "random"})
    lines = []
    figure = find_rate("random", "full", 12, lines.append)
    assert figure.read_bytes().startswith(b"\x89PNG") and figure.name == "random-full.png"
    present = f"(params.yaml has {settings.finetune.full.learning_rate:.1e})"
    assert "finetune.full.learning_rate: " in lines[-1] and present in lines[-1]
