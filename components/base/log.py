"""What a component reports while it works; flows/ sends it to MLflow and the terminal, tests keep it in lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from matplotlib.figure import Figure

T = TypeVar("T")
Track = Callable[[Iterable[Any], int, str], Iterable[Any]]
"""`Log.track`, for functions that show progress and log nothing else."""


def untracked(items: Iterable[T], _total: int, _what: str) -> Iterable[T]:
    """The items, without progress: a `Track`."""
    return items


class Log(Protocol):
    """Where a component sends metrics, figures, files, tags and lines of text."""

    def metrics(self, values: Mapping[str, float], step: int | None = None) -> None:
        """Log numbers by name.

        Args:
            values: metric -> value.
            step: position on the curve, an epoch from 1 where there are epochs; None: the metric has no curve.
        """

    def figure(self, name: str, figure: Figure) -> None:
        """Log a figure under `name` with its extension, such as `reconstructions.png`."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Log a file or a folder with its present content, into `folder` of the run's artifacts."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Tag the run with texts, such as the sha256 of its weights."""

    def line(self, text: str) -> None:
        """Show the user one line."""

    def track(self, items: Iterable[T], total: int, what: str) -> Iterable[T]:
        """The same items, with progress shown: rate and time left, as plain lines where there is no terminal.

        Args:
            items: iterated once.
            total: their number.
            what: the unit, such as "images packed".
        """


class SilentLog:
    """A Log that keeps everything in memory and shows nothing: for tests, notebooks and benchmarks."""

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

    def track(self, items: Iterable[T], total: int, what: str) -> Iterable[T]:
        """The items, without progress."""
        return untracked(items, total, what)
