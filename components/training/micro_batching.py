"""One optimizer step on a batch that is computed in micro-batches where memory is short.

Each micro-batch adds its share of the gradient, so the sum is the gradient of the whole batch.
"""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loops.optimization.automatic import Closure, ClosureResult, _AutomaticOptimization
from pytorch_lightning.loops.utilities import _block_parallel_sync_behavior
from torch import Tensor

from components.base.errors import TrainingError
from components.training.batches import count_rows, micro_batches
from components.training.job import TrainingJob
from components.training.state import TrainingState

FEWEST = 3
"""Images per micro-batch: two could leave one image of an odd batch alone, on which BatchNorm cannot train."""


class MicroBatchSize:
    """How many images a device computes at once; halved each time a GPU's memory runs out."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        """None: the device's whole part of a batch."""
        self.largest_batch = 0
        """Images in the largest whole batch for which memory was enough."""

    def restore(self, limit: int | None) -> None:
        """Take the limit of a resume state where it is lower."""
        self.limit = min((each for each in (self.limit, limit) if each is not None), default=None)

    def halve(self, job: TrainingJob, state: TrainingState, error: Exception) -> None:
        """Halve the limit and log it.

        Raises:
            TrainingError: on several devices, which must all use the same limit, and where the limit is at its minimum.
        """
        here = f"{job.what}: out of GPU memory in {state.place}"
        images = min(self.limit or state.part.whole, count_rows(state.part.batch))
        if job.session.world > 1 or images <= FEWEST:
            advice = "set compute.micro_batch lower" if images > FEWEST else "use a smaller backbone or pack.image_size"
            raise TrainingError(f"{here} with {images} images at once: {advice} (params.yaml)") from error
        self.limit = max(FEWEST, images // 2)
        job.log.line(f"{here} with {images} images at once: continuing with micro-batches of {self.limit}")


class MicroBatchedOptimization(_AutomaticOptimization):
    """Lightning's optimization, with each step's batch in micro-batches.

    Lightning's own gradient accumulation works over whole steps, which would change what a step is.
    """

    def __init__(self, trainer: pl.Trainer, *, job: TrainingJob, state: TrainingState, size: MicroBatchSize) -> None:
        super().__init__(trainer)
        self.job, self.training_state, self.size = job, state, size

    def _make_closure(self, kwargs: Any, optimizer: torch.optim.Optimizer, batch_idx: int) -> Closure:
        def step(batch: Any) -> ClosureResult:
            return self._training_step(type(kwargs)(kwargs, batch=batch))

        zero, backward = self._make_zero_grad_fn(batch_idx, optimizer), self._make_backward_fn(optimizer)
        return _MicroBatchedStep(self, kwargs["batch"], step_fn=step, backward_fn=backward, zero_grad_fn=zero)


class _MicroBatchedStep(Closure):
    """The forward and backward passes of one step."""

    def __init__(
        self, optimization: MicroBatchedOptimization, batch: Any, *, step_fn: Any, backward_fn: Any, zero_grad_fn: Any
    ) -> None:
        super().__init__(step_fn, backward_fn, zero_grad_fn)
        self.step_fn, self.backward_fn, self.zero_grad_fn = step_fn, backward_fn, zero_grad_fn
        self.trainer, self.batch = optimization.trainer, batch
        self.job, self.state, self.size = optimization.job, optimization.training_state, optimization.size

    @torch.enable_grad()
    def closure(self, *_args: Any, **_named: Any) -> ClosureResult:
        """Repeat until the step fits into memory; a failed attempt is undone before the next one."""
        while True:
            before = self._batch_norm_statistics()
            try:
                result = self._sum_micro_batches()
            except torch.cuda.OutOfMemoryError as error:
                self.size.halve(self.job, self.state, error)
            else:
                self.size.largest_batch = max(self.size.largest_batch, self.state.part.whole)
                return result
            self._undo(before)

    def _sum_micro_batches(self) -> ClosureResult:
        terms: dict[str, Any] = {}
        weighted = micro_batches(self.state.part, self.batch, self.size.limit, self.job.session.world)
        for number, (weight, batch) in enumerate(weighted):
            with _block_parallel_sync_behavior(self.trainer.strategy, block=number + 1 < len(weighted)):
                result = self.step_fn(batch)
                if number == 0:
                    self.zero_grad_fn()
                self.backward_fn(result.closure_loss * weight)
            for name, value in result.asdict().items():
                terms[name] = terms.get(name, 0.0) + value.detach() * weight
        return ClosureResult(terms.pop("loss"), extra=terms)

    def _batch_norm_statistics(self) -> list[tuple[Tensor, Tensor]]:
        """Copies of all buffers, for the first batch of its size only: later ones need no more memory."""
        if self.state.part.whole <= self.size.largest_batch:
            return []
        return [(buffer, buffer.clone()) for buffer in self.trainer.lightning_module.buffers()]

    def _undo(self, before: list[tuple[Tensor, Tensor]]) -> None:
        for buffer, copy in before:
            buffer.data.copy_(copy)
        self.trainer.lightning_module.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        self.state.reseed(self.job.session)
