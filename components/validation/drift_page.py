"""The page about the differences between two versions of a data set, with the most changed images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.report import page
from components.report.figures import PALETTE
from components.report.formatting import MINUS, count
from components.validation import quality_figure
from components.validation.drift import DatasetChanges, unusual
from components.validation.page import plural
from components.validation.quality import MEASURES, format_value
from components.validation.thumbnails import Thumbnail, tile

COLOURS = (PALETTE[4], PALETTE[0])
"""Of the former and the current version."""

KINDS = {
    "relabelled": (
        "Relabelled",
        "The diagnosis changed. Check who decided it, and whether it also applies to the lesion's other images.",
    ),
    "replaced": ("Replaced", "Another file has the same name."),
    "new and unusual": ("New and unusual", "Added images whose quality is far from that of the former version."),
    "removed": ("Removed", "These images are not in the current version."),
}
"""Kind of `drift.most_changed` -> heading and explanation."""


@dataclass(frozen=True)
class ChangedImage:
    """One of the most changed images."""

    kind: str
    name: str
    words: str
    former_name: str | None = None  # where it changed
    before: Thumbnail | None = None  # None: not available, or the same as the current one
    after: Thumbnail | None = None

    @property
    def description(self) -> str:
        """Its text on the page."""
        former = [f"was called {self.former_name}"] if self.former_name else []
        return "; ".join([*([self.words] if self.words else []), *former])


def render(
    changes: DatasetChanges, images: Sequence[ChangedImage], names: tuple[str, str], notes: Sequence[str]
) -> str:
    """The page as HTML; the same changes give the same bytes.

    Args:
        changes: of the data set.
        images: of the most changed ones.
        names: of the two versions.
        notes: that the reader must know first.
    """
    groups = [
        (*words, _total(changes, kind), [image for image in images if image.kind == kind])
        for kind, words in KINDS.items()
    ]
    return page.render(
        "validation/drift_page.html.j2",
        {"count": count, "plural": plural, "difference": points},
        changes=changes,
        names=names,
        notes=notes,
        colours=COLOURS,
        unavailable=tile("not available"),
        groups=[group for group in groups if group[-1]],
        sources=sorted(changes.after["source"].dropna().unique()),
        synthetic=bool((changes.after["source"] == "SYNTHETIC").any()),
        format_value=format_value,
        distributions=_distributions(changes, names),
    )


def _total(changes: DatasetChanges, kind: str) -> int:
    """Number of all images of a kind."""
    parts = (changes.relabelled, changes.replaced, unusual(changes), changes.removed)
    return len(parts[list(KINDS).index(kind)])


def _distributions(changes: DatasetChanges, names: tuple[str, str]) -> list[dict[str, Any]]:
    """One figure a measure, with the accepted images of both versions."""
    colours = dict(zip(names, COLOURS, strict=True))
    found = []
    for measure in MEASURES:
        if measure.name not in changes.unknown:
            tables = (changes.before[changes.before["accepted"]], changes.after[changes.after["accepted"]])
            versions = {name: measure.values(table) for name, table in zip(names, tables, strict=True)}
            figure = quality_figure.draw(versions, measure, colours)
            svg = page.inline_svg(figure, f"drift-{measure.name}", f"{measure.title} in both versions")
            found.append({"title": measure.title, "figure": svg, "row": changes.quality.loc[measure.name]})
    return found


def points(share: float) -> str:
    """A difference of shares in percentage points: `+2.1`; one that rounds to zero has no sign."""
    text = f"{100 * share:+.1f}".replace("-", MINUS)
    return "0.0" if text[1:] == "0.0" else text
