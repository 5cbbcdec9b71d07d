"""The page of what has changed between two versions of a data set, in one file, with pictures of the most changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.base.files import write_text
from components.report import page
from components.report.figures import PALETTE
from components.report.formatting import MINUS
from components.validation import quality_figure
from components.validation.drift import Changes, unusual
from components.validation.page import count, plural
from components.validation.quality import MEASURES, written
from components.validation.thumbnails import Thumbnail, tile

COLOURS = (PALETTE[4], PALETTE[0])
"""Of the former and the present version."""

KINDS = {
    "relabelled": (
        "Relabelled",
        "The diagnosis is another. Who decided it, and does it hold for the lesion's other images?",
    ),
    "replaced": ("Replaced", "The same name holds another file."),
    "new and unusual": ("New and unusual", "Added images far from what the former version looked like."),
    "removed": ("Removed", "They are no longer there."),
}
"""Kind of `drift.most_changed` -> heading, what to think of it."""


@dataclass(frozen=True)
class Card:
    """One of the most changed images."""

    kind: str
    name: str
    words: str
    former_name: str | None = None  # where it was another
    before: Thumbnail | None = None  # None: not there, or the same as the present one
    after: Thumbnail | None = None

    @property
    def said(self) -> str:
        """All that the page says of it."""
        former = [f"was called {self.former_name}"] if self.former_name else []
        return "; ".join([*([self.words] if self.words else []), *former])


def write_page(
    changes: Changes, cards: Sequence[Card], names: tuple[str, str], notes: Sequence[str], path: Path
) -> None:
    """The page at `path`; `names` are those of the two versions, `notes` what the reader must know."""
    text = render(changes, cards, names, notes)
    write_text(path, text)


def render(changes: Changes, cards: Sequence[Card], names: tuple[str, str], notes: Sequence[str]) -> str:
    """The whole page; the same changes give the same bytes."""
    groups = [
        (*words, _total(changes, kind), [card for card in cards if card.kind == kind]) for kind, words in KINDS.items()
    ]
    return page.render(
        "validation/drift_page.html.j2",
        {"count": count, "plural": plural, "points": points, "percent": lambda share: f"{100 * share:.1f} %"},
        changes=changes,
        names=names,
        notes=notes,
        colours=COLOURS,
        none_at_hand=tile("not at hand"),
        groups=[group for group in groups if group[-1]],
        sources=sorted(changes.after["source"].dropna().unique()),
        synthetic=bool((changes.after["source"] == "SYNTHETIC").any()),
        written=written,
        spreads=_spreads(changes, names),
    )


def _total(changes: Changes, kind: str) -> int:
    """How many there are in all."""
    parts = (changes.relabelled, changes.replaced, unusual(changes), changes.removed)
    return len(parts[list(KINDS).index(kind)])


def _spreads(changes: Changes, names: tuple[str, str]) -> list[dict[str, Any]]:
    """A figure a measure, both versions' accepted images over each other."""
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
    """A difference of shares in percentage points: `+2.1`; one that rounds to nothing has no sign."""
    text = f"{100 * share:+.1f}".replace("-", MINUS)
    return "0.0" if text[1:] == "0.0" else text
