"""The error of an image whose bytes cannot be read."""

from __future__ import annotations

from typing import Literal

from components.base.errors import DataError, UnusableError

Problem = Literal["missing", "outside_folder", "unreadable"]


class SourceError(DataError, UnusableError[Problem]):
    """The bytes of an image cannot be read: `problem` is the kind, the message the detail, without an absolute path."""
