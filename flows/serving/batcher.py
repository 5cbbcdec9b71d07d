"""Requests that arrive at about the same time are computed together, in one thread that owns the model.

A network computes a batch of images in far less time than the same images one by one. The thread takes what waits, up
to a batch, and waits at most a few milliseconds for more. A full queue is refused at once, so that no request waits
without an end.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.base.errors import RunError
from components.deployment.predictor import Images, Predictor

Answer = Mapping[str, Any]


class BusyError(RunError):
    """More images wait than the service accepts."""


@dataclass(frozen=True)
class Answered:
    """An answer and the model that gave it."""

    answer: Answer
    model: Mapping[str, Any]
    """Of `about`."""


@dataclass(frozen=True)
class _Waiting:
    pixels: Images  # (S, S, 3)
    predictor: Predictor  # that has read the pixels, and answers
    future: Future[Answered]


class Batcher:
    """Computes answers for single images, many at once."""

    def __init__(
        self,
        predictor: Predictor,
        *,
        most: int,
        wait_s: float,
        limit: int,
        observe: Callable[[int, float], None] = lambda _images, _seconds: None,
    ) -> None:
        """Start the thread.

        Args:
            predictor: the model at first.
            most: images of a batch.
            wait_s: seconds that the first image of a batch waits for others.
            limit: images that may wait.
            observe: is told the images and seconds of each batch.
        """
        self._predictor, self._most, self._wait_s, self._observe = predictor, most, wait_s, observe
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(limit)
        self._lock = threading.Lock()  # nothing is put into the queue after its end
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    @property
    def predictor(self) -> Predictor:
        """The model that answers now."""
        return self._predictor

    @property
    def works(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive() and not self._closed

    def replace(self, predictor: Predictor) -> None:
        """Let another model answer from the next batch on."""
        self._predictor = predictor

    def submit(self, pixels: Images, predictor: Predictor) -> Future[Answered]:
        """The future answer for an image (S, S, 3) that `predictor` has read.

        Raises:
            BusyError: where as many images wait as may, or the service is stopping.
        """
        item = _Waiting(pixels, predictor, Future())
        with self._lock:
            if not self.works:
                raise BusyError("the service is stopping")
            try:
                self._queue.put_nowait(item)
            except queue.Full:
                raise BusyError(f"{self._queue.maxsize} images wait already; try again later") from None
        return item.future

    def close(self) -> None:
        """Answer what waits, then end the thread."""
        with self._lock:
            self._closed = True
        self._queue.put(None)  # waits for a place while the thread works
        self._thread.join()

    def _work(self) -> None:
        stopping = False
        while not stopping:
            batch, stopping = self._next_batch()
            by_model: dict[int, list[_Waiting]] = {}
            for item in batch:
                if item.future.set_running_or_notify_cancel():  # else no client waits for it any more
                    by_model.setdefault(id(item.predictor), []).append(item)
            for items in by_model.values():  # two only where the model was replaced a moment ago
                self._answer(items)

    def _next_batch(self) -> tuple[list[_Waiting], bool]:
        """The images that wait, at least one; True where no more will come."""
        first = self._queue.get()
        if first is None:
            return [], True
        batch, until = [first], time.monotonic() + self._wait_s
        while len(batch) < self._most:
            try:
                item = self._queue.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            if item is None:
                return batch, True
            batch.append(item)
        return batch, False

    def _answer(self, items: list[_Waiting]) -> None:
        predictor, began = items[0].predictor, time.monotonic()
        try:
            answers = as_answers(predictor, np.stack([item.pixels for item in items]))
        except Exception as error:  # whatever it is: the callers wait for an end
            for item in items:
                item.future.set_exception(error)
            return
        self._observe(len(items), time.monotonic() - began)
        for item, answer in zip(items, answers, strict=True):
            item.future.set_result(Answered(answer, about(predictor)))


def about(predictor: Predictor) -> dict[str, Any]:
    """Which model answers, and what is to be known of it."""
    manifest = predictor.bundle.manifest
    return {
        "run": manifest.run,
        "bundle": predictor.bundle.sha256,
        "recommended": manifest.recommended,
        "synthetic": manifest.synthetic,
    }


def as_answers(predictor: Predictor, pixels: Images) -> list[Answer]:
    """`Predictor.predict` of images (N, S, S, 3) as plain values for JSON."""
    table, classes = predictor.predict(pixels), predictor.bundle.manifest.classes
    knows_malignant = bool(predictor.bundle.manifest.malignant)
    decides = predictor.bundle.manifest.point is not None
    return [
        {
            "predicted": row["predicted"],
            "probabilities": {name: float(row[f"p_{name}"]) for name in classes},
            "p_malignant": float(row["p_malignant"]) if knows_malignant else None,
            "malignant": bool(row["malignant"]) if decides else None,
            "set": list(row["set"]),
            "abstain": bool(row["abstain"]),
            "reason": row["reason"] or None,
            "confidence": float(row["confidence"]),
            "outlier_p": float(row["outlier_p"]),
        }
        for row in table.to_dict("records")
    ]
