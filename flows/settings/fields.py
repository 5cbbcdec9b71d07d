"""Types of settings that several sections share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

Share = Annotated[float, Field(ge=0, le=1)]


OpenShare = Annotated[float, Field(gt=0, lt=1)]


Seed = Annotated[int, Field(ge=0)]


Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


def _inside(path: Path) -> Path:
    if path.is_absolute() or ".." in path.parts:
        raise ValueError("must be a relative path inside the repository")
    return path


Inside = Annotated[Path, AfterValidator(_inside)]
