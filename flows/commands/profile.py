"""`dermflow profile` and `dermflow find-rate`: measurements of the active experiment's trainings.

They are no stages: what they train is not kept, and the time that a training takes is no result of a study.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from components.base.errors import RunError
from components.base.files import whole
from components.base.run_id import FinetuneProtocol, encoder_name, model_name
from components.models.weights_file import load_encoder
from components.report.figures import save
from components.training import profiling, range_test
from components.training.figures import range_test as range_test_figure
from flows.commands.study_trainings import choose_protocol, finetuning, study_trainings
from flows.settings import load_settings
from flows.tracking.terminal import EchoLog


def profile(steps: int, echo: Callable[[str], None]) -> list[Path]:
    """Profile each training of the study; returns the files of the traces."""
    settings = load_settings()
    traces = []
    for training in study_trainings(settings, EchoLog(echo)):
        trace = settings.paths.reports / "profile" / f"{training.name}.json"
        echo(f"{training.name}: two short epochs of {steps} steps")
        found = profiling.profile_steps(
            training.module,
            training.batches,
            training.session,
            steps=steps,
            trace=trace,
            frozen=training.frozen,
        )
        for line in profiling.describe(found):
            echo(f"  {line}".rstrip())
        echo(f"  trace: {trace} (open it at ui.perfetto.dev or chrome://tracing)\n")
        traces.append(trace)
    return traces


def find_rate(arm: str, protocol: str, steps: int, echo: Callable[[str], None]) -> Path:
    """Learning-rate range test of one arm's fine-tuning; returns the file of the figure.

    Args:
        arm: whose encoder of the first seed is used; empty: the first arm of the study.
        protocol: frozen, full or lpft (as full); empty: the first of the study.
        steps: batches, each with a higher rate.
        echo: shows a line to the user.

    Raises:
        RunError: where the arm has no encoder yet.
    """
    settings = load_settings()
    arm, chosen = arm or settings.study.arms[0], choose_protocol(settings, protocol)
    name = encoder_name(arm, settings.study.seeds[0])
    path = settings.paths.encoders / f"{name}.safetensors"
    if not path.is_file():
        raise RunError(f"{path}: is not there; `dvc repro pretrain@{name}` makes it, arms are {settings.study.arms}")
    training = finetuning(settings, load_encoder(path, settings.backbone), chosen, EchoLog(echo))
    found = range_test.run_range_test(training.module, training.batches, training.session, steps=steps)
    figure = range_test_figure.draw(found)
    target = settings.paths.reports / "learning_rate" / f"{model_name(arm, chosen)}.png"
    with whole(target) as unfinished:
        save(figure, unfinished, dpi=150)
    schedule = settings.finetune.frozen if chosen == FinetuneProtocol.FROZEN else settings.finetune.full
    echo(_describe(found, arm, chosen, schedule.learning_rate))
    return target


def _describe(found: range_test.RangeTest, arm: str, protocol: FinetuneProtocol, present: float) -> str:
    open_end = "" if found.diverged else " (the loss did not rise at the highest rates: the test ended too early)"
    return (
        f"{arm}, {protocol}: the loss is lowest at {found.lowest:.1e}{open_end}; suggested peak "
        f"finetune.{protocol}.learning_rate: {found.suggestion:.1e} (params.yaml has {present:.1e}). "
        "All arms share one learning rate: test each of them before you change it"
    )
