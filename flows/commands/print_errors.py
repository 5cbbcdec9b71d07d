"""How every command ends after an error that its user can fix."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import typer

from components.base.errors import DermflowError


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
