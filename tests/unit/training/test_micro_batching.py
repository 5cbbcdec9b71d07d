"""A batch in micro-batches gives the loss and gradient of the whole batch."""

from __future__ import annotations

import pytest
import torch

from components.base.errors import TrainingError
from components.base.log import SilentLog
from tests.unit.training.toy_training import Plain, Sgd, Toy, same_weights, toy_session, train_toy


def _norms(log: SilentLog) -> list[float]:
    return [row["fit/gradient_norm"] for _, row in log.points]


def _equal_up_to_rounding(one, other, log, twin):
    for name, value in one[0].state_dict().items():
        torch.testing.assert_close(other[0].state_dict()[name], value, rtol=1e-5, atol=1e-6)
    for row, copy in zip(one[1].history, other[1].history, strict=True):
        assert copy == pytest.approx(row, rel=1e-5)
    assert _norms(twin) == pytest.approx(_norms(log), rel=1e-5)


def test_a_batch_in_micro_batches_gives_the_whole_batchs_loss_and_gradient():
    log, twin = SilentLog(), SilentLog()
    whole = train_toy(Sgd(), log=log)
    pieces = train_toy(Sgd(), log=twin, session=toy_session(micro_batch=3))
    assert set(whole[0].seen) == {5, 2} and set(pieces[0].seen) == {2, 3}
    _equal_up_to_rounding(whole, pieces, log, twin)


def test_out_of_gpu_memory_halves_the_micro_batches_and_continues_from_the_same_step():
    log, twin = SilentLog(), SilentLog()
    whole = train_toy(Sgd(), log=log, epochs=2)
    short = train_toy(Sgd(room=3), log=twin, epochs=2)
    message = "toy: out of GPU memory in epoch 1, step 1 with 5 images at once: continuing with micro-batches of 3"
    assert twin.lines == [message]
    assert short[0].seen[:3] == [5, 2, 3] and short[0].seen.count(5) == 1
    _equal_up_to_rounding(whole, short, log, twin)


def test_an_attempt_that_ran_out_of_memory_leaves_no_trace():
    """BatchNorm's statistics and the random draws are those of a training that has the limit from the start."""

    class Late(Toy):
        room = 3

        def training_step(self, batch, index):
            found = super().training_step(batch, index)
            if len(batch[0]) > self.room:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory (a GPU in this test's place)")
            return found

    short, result = train_toy(Late())
    limited, expected = train_toy(session=toy_session(micro_batch=3))
    assert same_weights(short, limited) and result.history == expected.history


def test_memory_for_too_few_images_ends_with_what_to_change():
    with pytest.raises(TrainingError, match=r"epoch 1, step 1 with 3 images at once: use a smaller backbone or pack"):
        train_toy(Plain(room=1))
