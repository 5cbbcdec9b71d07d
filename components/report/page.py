"""Pages: one HTML file each, with the shared frame, styles and number formats, and figures as inline SVG.

A page loads nothing from the network and refers to no file except other pages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from io import StringIO
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.figure import Figure

from components.data.vocabulary import diagnosis_name
from components.report import formatting, wording
from components.report.figures import GRID_COLOUR, INK, save
from components.report.places import MADE, place

FILTERS: Mapping[str, Callable[..., Any]] = {
    "percent": formatting.percent,
    "number": formatting.number,
    "signed": formatting.signed,
    "change": formatting.change,
    "points": formatting.points,
    "signed_root": formatting.signed_root,
    "p": formatting.p_value,
    "of_units": wording.of_units,
    "diagnosis_name": diagnosis_name,
    "interval_range": formatting.interval_range,
    "percent_range": partial(formatting.interval_range, form=formatting.percent),
    "points_range": partial(formatting.interval_range, form=formatting.points),
    "signed_root_range": partial(formatting.interval_range, form=formatting.signed_root),
    "signed_range": partial(formatting.interval_range, form=formatting.signed),
}
"""What every template can use: `{{ share | percent }}`, `{{ interval | percent_range }}`."""


PAGES: Mapping[str, str] = {
    "index.html": "The model, for clinicians",
    "study.html": "The study of methods",
    "robustness.html": "Pictures of low quality",
    "explanations.html": "Maps and errors",
    "model_card.html": "Model card",
    "data_sheet.html": "Data sheet",
    "data.html": "Checks of the images",
    "pretraining.html": "Pretraining",
    "paper.html": "The paper's claims",
}
"""File and name of each page that every study has; all pages link to all of them."""


def render(template: str, filters: Mapping[str, Callable[..., Any]] | None = None, **values: object) -> str:
    """A template filled with values, as text.

    Values are escaped: HTML inside them is shown as text, except in `Markup`. A variable that is not given is an error.

    Args:
        template: path below `components`, such as `comparison/page.html.j2`. It can extend `report/page.html.j2` and
            import macros from `report/macros.html.j2`.
        filters: of this template alone, besides FILTERS.
        values: variables of the template, by name.

    Raises:
        jinja2.UndefinedError: where the template uses a variable that `values` lacks.
    """
    environment = Environment(
        loader=FunctionLoader(lambda name: files("components").joinpath(name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**FILTERS, **(filters or {})}
    environment.globals |= {"pages_of_study": PAGES, "made": place(MADE)}
    return environment.get_template(template).render(values)


def inline_svg(figure: Figure, name: str, label: str) -> Markup:
    """A figure as an <svg> element for a page: equal figures give equal bytes.

    Text and grid take the page's colours, so that they follow its light or dark scheme.

    Args:
        figure: drawn with the colours of `components.report.figures`.
        name: unique on the page; element ids are derived from it.
        label: what the figure shows, for screen readers (aria-label).
    """
    out = StringIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with rc_context({"svg.hashsalt": f"dermflow {name}", "svg.fonttype": "none"}):
        save(figure, out, format="svg", transparent=True, metadata=metadata)
    svg = out.getvalue()[out.getvalue().index("<svg") :]
    svg = re.sub(r"<[^>]*>", lambda tag: _as_inline(tag[0]), svg)  # text between tags is escaped, and stays as it is
    attributes = f'role="img" aria-label="{escape(label)}"'
    size = r'<svg ([^>]*?)width="[\d.]+pt" height="[\d.]+pt"'
    svg = re.sub(size, lambda found: f"<svg {found[1]}{attributes}", svg, count=1)
    return Markup(svg.strip())  # our own SVG


def _as_inline(tag: str) -> str:
    """A tag of an SVG file as HTML has it: without namespaces and counted ids, with colours of the page."""
    tag = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", tag)  # counted per figure, so they would repeat on the page
    tag = re.sub(r' ?xmlns:xlink="[^"]*"| version="1.1"', "", tag).replace("xlink:href", "href")
    tag = re.sub(r' ?xmlns="[^"]*"', "", tag)
    return tag.replace(INK, "currentColor").replace(GRID_COLOUR, "var(--rule)")
