"""Which checkout this is: the real one of DVC's temporary copy, and whether the code that runs is its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from components.base.errors import RunError

TEMPORARY = (".dvc", "tmp", "exps")
"""Where `dvc exp run --temp` and `--queue` make copies of a checkout, which DVC deletes afterwards."""

VENV = Path(".venv")
REBUILD = "rm -rf .venv && make setup"


def real_root() -> Path:
    """The checkout that keeps results: the current folder, or that of which DVC's temporary copy was made."""
    here = Path.cwd()
    for folder in reversed(here.parents):
        if folder.parts[-3:] == TEMPORARY:
            return folder.parents[2]
    return here


def check_own_code() -> None:
    """Refuse to work in a checkout with the code of another one.

    After a move or a copy an environment still holds the paths of the folder that it was made for, and in a worktree
    the environment of the main checkout may be active.

    Raises:
        RunError: with both folders, and the command for this one.
    """
    here, running = Path.cwd(), Path(__file__).parents[2]
    if not (here / "flows" / "commands" / "cli.py").is_file() or here.samefile(running):
        return
    raise RunError(
        f"this checkout is {here}, but the code that runs is that of {running}, which the environment {sys.prefix} was "
        f"made for; {_remedy(here)}"
    )


def _remedy(root: Path) -> str:
    if not (root / VENV).exists():
        return "make this checkout's own environment with `make setup`, and use .venv/bin/dermflow"
    if stale_environment(root):
        return f"make this checkout's own environment with `{REBUILD}`, and use .venv/bin/dermflow"
    return "use this checkout's own .venv/bin/dermflow"


def stale_environment(root: Path) -> str:
    """A sentence where the environment in a checkout was made for another folder; else empty.

    Its folder is recorded where pip and uv do it (PEP 610).
    """
    for record in (root / VENV).glob("lib/python3*/site-packages/dermflow-*.dist-info/direct_url.json"):
        made_for = urlsplit(json.loads(record.read_text("utf-8")).get("url", ""))
        place = Path(unquote(made_for.path))
        if made_for.scheme == "file" and not (place.exists() and place.samefile(root)):
            return f"{root / VENV} was made for {place}, whose code its programs run"
    return ""
