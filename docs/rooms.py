"""Draw the rooms of components/ with their imports, and write the table of rooms into docs/architecture.md.

`make rooms` runs it. Layers come from the import-linter contract in pyproject.toml, arrows and lines from the source:
the picture shows what is there.
"""

from __future__ import annotations

import ast
import tomllib
from collections import Counter
from pathlib import Path

from matplotlib import rc_context
from matplotlib.figure import Figure

from flows.orchestration.code_graph import CodeGraph

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "figures" / "rooms.svg"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- rooms: written by make rooms -->\n", "<!-- end of rooms -->\n"
INK, RULE, FILL = "#22303c", "#8a97a3", "#eef3f7"
WIDTH, HEIGHT = 1.55, 0.62  # of a box, inches


def read_layers() -> list[list[str]]:
    """The rooms from top to bottom, those of one layer together."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (rooms,) = (each for each in contracts if each.get("containers") == ["components"])
    return [[room.strip() for room in layer.split("|")] for layer in rooms["layers"]]


def count_lines(room: str) -> int:
    """Lines of Python and templates in a room."""
    files = [*(ROOT / "components" / room).rglob("*.py"), *(ROOT / "components" / room).rglob("*.j2")]
    return sum(len(file.read_text().splitlines()) for file in files)


def count_imports(rooms: list[str]) -> Counter[tuple[str, str]]:
    """How many files of one room import another room."""
    graph, found = CodeGraph(ROOT), Counter()
    for room in rooms:
        for file in (ROOT / "components" / room).rglob("*.py"):
            others = {name.split(".")[1] for name in graph.imports(file) if name.startswith("components.")}
            found.update((room, other) for other in others if other != room and other in rooms)
    return found


def purpose(room: str) -> str:
    """The first sentence of a room's docstring."""
    text = ast.get_docstring(ast.parse((ROOT / "components" / room / "__init__.py").read_text())) or ""
    return " ".join(text.split("\n\n")[0].split())


def draw(layers: list[list[str]], imports: Counter[tuple[str, str]]) -> Figure:
    """Boxes in layers; an arrow for each room that imports another, thicker where more files do."""
    across = max(len(layer) for layer in layers)
    figure = Figure(figsize=(across * (WIDTH + 0.35), len(layers) * 1.35))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    place = {}
    for row, layer in enumerate(layers):
        for column, room in enumerate(layer):
            x = (column + 0.5) * across / len(layer) * (WIDTH + 0.35)
            place[room] = x, (len(layers) - row - 0.5) * 1.35
    for (upper, lower), files in sorted(imports.items()):  # equal rooms: an equal picture
        (x, y), (u, v) = place[upper], place[lower]
        if lower == "base":  # every room stands on it: arrows would hide the others
            continue
        style = {"arrowstyle": "-|>", "color": RULE, "linewidth": 0.5 + min(files, 12) / 8, "alpha": 0.8}
        start, end = (x, y - HEIGHT / 2), (u, v + HEIGHT / 2)
        axes.annotate("", end, start, arrowprops={**style, "shrinkA": 0, "shrinkB": 0})
    for room, (x, y) in place.items():
        wide = WIDTH if room != "base" else across * (WIDTH + 0.35) - 0.4
        axes.add_patch(_box(x, y, wide))
        axes.text(x, y + 0.08, room.replace("_", " "), ha="center", va="center", color=INK, fontsize=10)
        axes.text(x, y - 0.14, f"{count_lines(room):,} lines", ha="center", va="center", color=INK, fontsize=7.5)
    axes.set_xlim(0, across * (WIDTH + 0.35))
    axes.set_ylim(0, len(layers) * 1.35)
    return figure


def _box(x: float, y: float, wide: float) -> object:
    from matplotlib.patches import FancyBboxPatch

    style = "round,pad=0,rounding_size=0.08"
    corner = (x - wide / 2, y - HEIGHT / 2)
    return FancyBboxPatch(corner, wide, HEIGHT, boxstyle=style, facecolor=FILL, edgecolor=INK, linewidth=0.8, zorder=3)


def table(layers: list[list[str]], imports: Counter[tuple[str, str]]) -> str:
    """The rooms as Markdown: what each is for, how large it is, what it imports."""
    lines = ["| room | what it holds | lines | imports (files) |", "|---|---|---|---|"]
    for layer in layers:
        for room in layer:
            others = [f"{other} {files}" for (upper, other), files in sorted(imports.items()) if upper == room]
            lines.append(f"| `{room}` | {purpose(room)} | {count_lines(room):,} | {', '.join(others) or '-'} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write picture and table."""
    layers = read_layers()
    imports = count_imports([room for layer in layers for room in layer])
    with rc_context({"svg.hashsalt": "dermflow rooms", "svg.fonttype": "none"}):
        draw(layers, imports).savefig(PICTURE, facecolor="white", metadata={"Date": None})
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + table(layers, imports) + END + after)


if __name__ == "__main__":
    main()
