"""Each setting of fine-tuning, changed alone for one arm, makes the comparison refuse and name it with both values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pandas as pd
import pytest
from pydantic import BaseModel, ValidationError

from components.base.errors import DataError
from components.base.run_id import FinetuneProtocol, RunId
from components.statistics.runs import FINGERPRINTS, Run, check_conditions
from components.training.conditions import build_conditions, describe_settings, lines_sha256
from components.training.settings import Augment, Compute, Finetune
from tests.unit.training.small_settings import AUGMENT, CLASSES, cpu_session, small_compute, small_finetune

OTHER_SCHEDULES = {
    FinetuneProtocol.FROZEN: ("full.", "lpft."),
    FinetuneProtocol.FULL: ("frozen.", "lpft."),
    FinetuneProtocol.LPFT: ("frozen.", "full."),
}
"""Settings that cannot matter to a protocol: the schedules of the others, which its training never reads."""

NO_EFFECT = {
    "threads": "the order of sums, so the last digits alone",
    "checkpoint_minutes": "how often a resume state is written",
    "checkpoint_steps": "the same",
    "num_nodes": "counted in the number of devices",
    "strategy": "how gradients are exchanged, of which the sum is the same",
}
"""Settings of the hardware that cannot change a result beyond the last digits, with the reason."""


def _leaves(model: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every setting, from the model's fields."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name)


def _changed(model: BaseModel, path: tuple[str, ...]) -> BaseModel:
    """The model with another allowed value at `path`."""
    content = model.model_dump()
    holder, owner = content, type(model)
    for name in path[:-1]:
        holder, owner = holder[name], owner.model_fields[name].annotation  # type: ignore[assignment]
    before = holder[path[-1]]
    options = [each for each in get_args(owner.model_fields[path[-1]].annotation) if isinstance(each, str)]
    for candidate in (*options, not before, 3, 4, 0.25, 0.5):
        holder[path[-1]] = candidate
        try:
            after = type(model).model_validate(content)
        except ValidationError:
            continue
        if after != model:
            return after
    raise AssertionError(f"no other value found for {'.'.join(path)} = {before}")


def _run(arm: str, protocol: FinetuneProtocol, augment: Augment, finetune: Finetune, compute: Compute) -> Run:
    conditions = build_conditions(protocol, classes=CLASSES, augment=augment, finetune=finetune)
    described = {
        "settings": conditions.describe(),
        "computation": describe_settings(cpu_session(**compute.model_dump()).describe_computation()),
    }
    prints = {f"{name}_sha256": lines_sha256(lines) for name, lines in described.items()}
    summary: dict[str, Any] = dict.fromkeys(FINGERPRINTS, "the same") | described | prints
    return Run(RunId(arm, protocol, 0), pd.DataFrame(), summary=summary)


def _check(protocol: FinetuneProtocol, **changes: Any) -> None:
    same = {"augment": AUGMENT, "finetune": small_finetune(), "compute": small_compute()}
    check_conditions([_run("vae", protocol, **same), _run("imagenet", protocol, **same | changes)])


@pytest.mark.parametrize("protocol", FinetuneProtocol)
@pytest.mark.parametrize(
    ("section", "path"),
    [
        pytest.param(name, path, id=f"{name}.{'.'.join(path)}")
        for name, model in {"augment": AUGMENT, "finetune": small_finetune()}.items()
        for path in _leaves(model)
    ],
)
def test_a_setting_changed_for_one_arm_is_refused_with_both_values(
    protocol: FinetuneProtocol, section: str, path: tuple[str, ...]
) -> None:
    model = {"augment": AUGMENT, "finetune": small_finetune()}[section]
    changed, key = _changed(model, path), ".".join(path)
    if section == "finetune" and key.startswith(OTHER_SCHEDULES[protocol]):
        _check(protocol, finetune=changed)
        return
    with pytest.raises(DataError, match=r"vae-.* and imagenet-.* differ in settings_sha256 ") as caught:
        _check(protocol, **{section: changed})
    differing = str(caught.value).split("; ", 1)[1]
    assert path[-1] in differing and " and " in differing
    assert "repeat both: dvc repro -f finetune" in differing


@pytest.mark.parametrize("name", Compute.model_fields)
def test_another_number_format_or_division_of_a_batch_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    changes: dict[str, object] = {"device": "cpu", "precision": "bf16-mixed", "micro_batch": 3, "devices": 2}
    if name in NO_EFFECT or name in ("device", "compile"):  # those two mean nothing without a GPU
        return
    with pytest.raises(DataError, match=rf"differ in computation_sha256 .*{name}: "):
        _check(FinetuneProtocol.FULL, compute=small_compute(**{name: changes[name]}))


def test_the_same_settings_are_the_same_conditions() -> None:
    for protocol in FinetuneProtocol:
        _check(protocol)


def test_the_first_difference_of_a_learning_rate_is_named() -> None:
    slow = {"epochs": 3, "learning_rate": 0.001}
    message = (
        r"differ in settings_sha256 \(\w{12} and \w{12}; phases.full.learning_rate: 0.01 and 0.001\): every setting"
    )
    with pytest.raises(DataError, match=message):
        _check(FinetuneProtocol.FULL, finetune=small_finetune(full=slow))
