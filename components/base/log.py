"""What a component may tell while it works; flows/ answers with MLflow and the terminal, tests with a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")


class Log(Protocol):
    """A run's memory and voice."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Remember numbers, one point a name and step (an epoch, where there are epochs)."""

    def figure(self, name: str, figure: Figure) -> None:
        """Keep a picture under `name`, with its extension, such as `reconstructions.png`."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Keep a file or a folder as it stands now."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Remember words about the run, such as the sha256 of its weights."""

    def line(self, text: str) -> None:
        """Tell the person one line."""

    def track(self, items: Iterable[T], total: int, what: str) -> Iterable[T]:
        """Hand the items on, showing progress with rate and time left; plain lines when not a terminal."""


class SilentLog:
    """Keeps numbers and lines in memory and shows nothing: for tests, notebooks and benchmarks."""

    def __init__(self) -> None:
        self.points: list[tuple[int | None, dict[str, float]]] = []
        self.lines: list[str] = []
        self.figures: dict[str, Figure] = {}
        self.words: dict[str, str] = {}
        self.artifacts: list[tuple[str, Path]] = []

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Kept in `points`."""
        self.points.append((step, dict(values)))

    def figure(self, name: str, figure: Figure) -> None:
        """Kept in `figures`."""
        self.figures[name] = figure

    def artifact(self, path: Path, folder: str = "") -> None:
        """Its folder and path are kept in `artifacts`."""
        self.artifacts.append((folder, path))

    def tags(self, values: Mapping[str, str]) -> None:
        """Kept in `words`."""
        self.words.update(values)

    def line(self, text: str) -> None:
        """Kept in `lines`."""
        self.lines.append(text)

    def track(self, items: Iterable[T], total: int, what: str) -> Iterable[T]:  # noqa: ARG002  # nothing is shown
        """The items alone."""
        return items
