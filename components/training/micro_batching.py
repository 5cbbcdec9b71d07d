"""One optimizer step on a batch that is computed in pieces where memory is short."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loops.optimization.automatic import Closure, ClosureResult, _AutomaticOptimization
from pytorch_lightning.loops.utilities import _block_parallel_sync_behavior
from torch import Tensor

from components.training.batches import Epoch as Epoch
from components.training.batches import generator as generator  # who trains needs these too, from one place
from components.training.batches import pieces
from components.training.batches import shuffled as shuffled
from components.training.session import Session as Session
from components.training.session import open_session as open_session
from components.training.state import _Run


class _InPieces(_AutomaticOptimization):
    """Lightning's optimisation, but for a step's batch in pieces where memory is short.

    Lightning accumulates over whole steps, which would change what a step is.
    """

    def __init__(self, trainer: pl.Trainer, run: _Run) -> None:
        super().__init__(trainer)
        self.run_of = run  # Lightning's own `run` is a method

    def _make_closure(self, kwargs: Any, optimizer: torch.optim.Optimizer, batch_idx: int) -> Closure:
        def step(piece: Any) -> ClosureResult:
            return self._training_step(type(kwargs)(kwargs, batch=piece))

        zero, backward = self._make_zero_grad_fn(batch_idx, optimizer), self._make_backward_fn(optimizer)
        return _Pieces(self.trainer, self.run_of, kwargs["batch"], step, backward, zero)


class _Pieces(Closure):
    """One step's forward and backward passes; the gradients of all pieces add up to the whole batch's."""

    def __init__(self, trainer: pl.Trainer, run: _Run, batch: Any, step: Any, backward: Any, zero: Any) -> None:
        super().__init__(step, backward, zero)
        self.trainer, self.run, self.batch = trainer, run, batch
        self.step, self.backward, self.zero = step, backward, zero

    @torch.enable_grad()
    def closure(self, *_args: Any, **_named: Any) -> ClosureResult:
        """Until it fits into memory: what is over is undone before the next attempt."""
        while True:
            before = self._statistics()
            try:
                result = self._add_up()
            except torch.cuda.OutOfMemoryError as error:
                self.run.shrink(error)  # raises where it cannot be mended
            else:
                self.run.fits = max(self.run.fits, self.run.part.whole)
                return result
            self._undo(before)

    def _add_up(self) -> ClosureResult:
        run = self.run
        terms: dict[str, Any] = {}
        cuts = pieces(run.part, self.batch, run.at_once, run.session.world)
        for number, (share, piece) in enumerate(cuts):
            with _block_parallel_sync_behavior(self.trainer.strategy, block=number + 1 < len(cuts)):
                result = self.step(piece)
                if number == 0:
                    self.zero()
                self.backward(result.closure_loss * share)
            for name, value in result.asdict().items():
                terms[name] = terms.get(name, 0.0) + value.detach() * share
        return ClosureResult(terms.pop("loss"), extra=terms)

    def _statistics(self) -> list[tuple[Tensor, Tensor]]:
        """BatchNorm's, at the first batch of its size: later ones need no more memory."""
        if self.run.part.whole <= self.run.fits:
            return []
        return [(buffer, buffer.clone()) for buffer in self.trainer.lightning_module.buffers()]

    def _undo(self, before: list[tuple[Tensor, Tensor]]) -> None:
        for buffer, then in before:
            buffer.data.copy_(then)
        self.trainer.lightning_module.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        self.run.reseed()
