"""How an analysis writes its result: a record as JSON, a page, figures in MLflow, and lines in the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.base.files import write_text
from components.base.log import Log
from flows.stage_io.pages import write_page

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def publish(
    folder: Path,
    name: str,
    *,
    record: Mapping[str, Any],
    page: str,
    figures: Mapping[str, Figure],
    lines: Iterable[str],
    log: Log,
    artifacts: str = "report",
    model: str = "",
) -> None:
    """Write `NAME.json` and `NAME.html` into `folder`, and keep both and every figure in the run.

    Args:
        folder: where the files go; made where it does not exist.
        name: of the two files, without extension.
        record: plain values without NaN, see `components.base.json_data.plain`.
        page: HTML that loads nothing from the network.
        figures: by name, kept as PNG.
        lines: shown in the terminal, followed by the path of the page.
        log: the run.
        artifacts: the folder in MLflow that holds the two files.
        model: as for `pages.write_page`.
    """
    page_path = folder / f"{name}.html"
    write_text(folder / f"{name}.json", as_json(record))
    log.artifact(folder / f"{name}.json", artifacts)
    write_page(page_path, page, log, model=model, artifacts=artifacts)
    for title, figure in figures.items():
        log.figure(f"{title}.png", figure)
    for line in lines:
        log.line(line)
    log.line(f"Look at {page_path}")


def as_json(record: Any) -> str:
    """Indented JSON with a final newline; a NaN in the record raises ValueError."""
    return json.dumps(record, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
