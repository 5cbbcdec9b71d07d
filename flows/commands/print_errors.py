"""What every command prints: an error that its user can fix, or JSON for a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from components.base.errors import DermflowError


def as_json(data: Any) -> str:
    """What `--json` prints: one document, with the words of the data set as they are."""
    return json.dumps(data, indent=2, ensure_ascii=False, default=str)


def print_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Print a DermflowError as one message without a traceback, and exit with status 1."""

    @wraps(command)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        try:
            return command(*arguments, **named)
        except DermflowError as error:
            typer.echo(f"dermflow: {error}", err=True)
            raise typer.Exit(1) from None

    return wrapped
