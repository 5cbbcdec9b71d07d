"""When resume states are written within an epoch."""

from __future__ import annotations

import pytorch_lightning as pl

from tests.unit.training.toy_training import toy_session, train_toy


class StateSeen(pl.Callback):
    """Notes at the start of each step whether there is a resume state; batches are drawn before their steps."""

    def __init__(self, folder) -> None:
        self.folder, self.seen = folder, []

    def on_train_batch_start(self, *_):
        self.seen.append((self.folder / "last.ckpt").exists())


def test_a_state_is_written_when_its_minutes_are_over(tmp_path):
    for minutes, expected in ((1e-9, [False, True, True, True, True]), (60, [False] * 5)):
        watch = StateSeen(tmp_path)
        session = toy_session(tmp_path, checkpoint_minutes=minutes)
        train_toy(session=session, callbacks=[watch], epochs=1)
        session.forget()
        assert watch.seen == expected
