"""Types of single settings that several rooms use: a share, a seed, a name, a path inside the repository."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

Share = Annotated[float, Field(ge=0, le=1)]
OpenShare = Annotated[float, Field(gt=0, lt=1)]
"""A share without its ends: neither nothing nor everything."""

Seed = Annotated[int, Field(ge=0)]

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
"""Lower case, digits and underscores, so that it can stand in file names and in run names."""


def _check_relative(path: Path) -> Path:
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("must be a relative path inside the repository")
    return path


RelativePath = Annotated[Path, AfterValidator(_check_relative)]
"""Below the repository's root."""
