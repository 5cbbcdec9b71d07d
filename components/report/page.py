"""What all pages share: one look, and figures as part of the page, so that it asks nothing of the net."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from io import StringIO
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from components.report.figures import INK, RULE


def render(template: str, filters: Mapping[str, Callable[..., Any]], **values: object) -> str:
    """A template of this folder with values in it; whatever stands in a value is text, never markup."""
    environment = Environment(
        loader=FunctionLoader(lambda name: files("components").joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(template).render(values)


def inline_svg(figure: Figure, name: str, meaning: str) -> Markup:
    """The figure as an <svg> element, the same bytes each time; ink and grid take the page's colours."""
    out = StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    with rc_context({"svg.hashsalt": f"dermflow {name}", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", transparent=True, metadata=nothing)
    svg = out.getvalue()[out.getvalue().index("<svg") :]
    svg = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", svg)  # counted per figure: they would repeat on the page
    svg = re.sub(r'<svg ([^>]*?)width="[\d.]+pt" height="[\d.]+pt"', rf'<svg \1role="img" aria-label="{meaning}"', svg)
    svg = re.sub(r' ?xmlns:xlink="[^"]*"| version="1.1"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r' ?xmlns="[^"]*"', "", svg)  # inside HTML it is known
    return Markup(svg.replace(INK, "currentColor").replace(RULE, "var(--rule)").strip())  # from our own figures
