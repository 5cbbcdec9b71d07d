"""Resume states on disk: refused under other settings or other code, replaced whole, kept and set aside."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from components.base.errors import CheckpointError
from components.base.log import SilentLog
from components.training.checkpoints import StaleStateError, forget_state, kept_until_end, set_aside
from tests.unit.training.toy_training import Toy, same_weights, toy_session, train_toy


def test_a_resume_state_of_other_settings_is_refused(tmp_path):
    session = toy_session(tmp_path)
    with pytest.raises(KeyError):
        train_toy(session=session, stop_in=1)
    changed = {"finetune": {"learning_rate": 0.02}}
    message = r"toy: .*last.ckpt was made with finetune.learning_rate = 0.01, but now it is 0.02: delete .* set"
    with pytest.raises(CheckpointError, match=message):
        train_toy(session=session, settings=changed)
    with pytest.raises(CheckpointError, match="seed = 0, but now it is 7"):
        train_toy(session=toy_session(tmp_path, seed=7))
    with pytest.raises(CheckpointError, match=r'compute\.precision = "32-true", but now it is "bf16-mixed"'):
        train_toy(session=toy_session(tmp_path, precision="bf16-mixed"))


def test_a_resume_state_of_another_net_is_refused(tmp_path):
    """The settings are the same, the code is not."""
    with pytest.raises(KeyError):
        train_toy(session=toy_session(tmp_path), stop_in=1)
    wider, deeper = Toy(), Toy()
    wider.net[6] = nn.Linear(4, 2)
    deeper.more = nn.Linear(1, 1)
    for net, message in (
        (wider, r"holds \(1,\) as net.6.bias, the net has \(2,\)"),
        (deeper, "holds no tensor as more.b"),
    ):
        with pytest.raises(StaleStateError, match=rf"toy: .*last.ckpt {message}.*: other code made it; delete"):
            train_toy(net, session=toy_session(tmp_path))


def test_a_resume_state_of_a_training_by_other_code_is_refused(tmp_path):
    """Its weights and settings fit, but it lacks the training's own state."""
    with pytest.raises(KeyError):
        train_toy(session=toy_session(tmp_path), stop_in=1)
    path = tmp_path / "last.ckpt"
    content = torch.load(path, weights_only=True)
    content["callbacks"] = {"_Run": content["callbacks"]["training"]}
    torch.save(content, path)
    message = rf"toy: {re.escape(str(path))} holds states of \['_Run'\], expected 'training' .*: other code made it"
    with pytest.raises(StaleStateError, match=message):
        train_toy(session=toy_session(tmp_path))


def test_a_state_is_kept_to_the_end_of_what_follows_and_set_aside_once(tmp_path):
    folder = tmp_path / "state"
    folder.mkdir()
    with pytest.raises(KeyError), kept_until_end(folder):
        forget_state(folder)
        raise KeyError
    assert folder.exists(), "what failed afterwards is done again"
    with kept_until_end(folder):
        forget_state(folder)
        assert folder.exists()
    assert list(tmp_path.iterdir()) == []
    for number in range(2):
        folder.mkdir()
        (folder / str(number)).touch()
        assert set_aside(folder) == tmp_path / "state.aside"
    assert [path.name for path in tmp_path.rglob("*")] == ["state.aside", "1"]


def test_a_broken_resume_state_is_named(tmp_path):
    (tmp_path / "last.ckpt").write_bytes(b"no")
    with pytest.raises(CheckpointError, match=r"(?s)last.ckpt: is no resume state .* delete"):
        train_toy(session=toy_session(tmp_path))


@pytest.mark.parametrize("broken", ["empty", "cut"])
def test_a_broken_newest_state_falls_back_on_the_former(tmp_path, straight, broken):
    session = toy_session(tmp_path)
    with pytest.raises(KeyError):
        train_toy(session=session, stop_in=3, monitor="val/loss")
    newest = tmp_path / "last.ckpt"
    newest.write_bytes(newest.read_bytes()[: 0 if broken == "empty" else 3000])
    log = SilentLog()
    module, result = train_toy(session=session, log=log, monitor="val/loss")
    assert log.lines[0] == f"toy: {newest} cannot be read, continuing from {tmp_path}/former.ckpt, written before it"
    assert log.lines[1] == "toy: continuing after epoch 2 of 4"
    assert same_weights(module, straight[0]) and result.history == straight[1].history
