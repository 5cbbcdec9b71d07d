"""The architecture of a file of weights: the settings' backbone, or one that the arm's pretraining method brought.

A method in components/pretraining/KIND may have a file `architecture.py` with a `Config(Frozen)` that offers what
`components.models.backbone.Architecture` asks for, and whose `kind` is the name of the folder. Files of weights name it
in their header, so a stage that loads one gets the right network without knowing how the arm was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from components.base.errors import CheckpointError
from components.base.families import load_member, members
from components.models.backbone import Architecture

METHODS = "pretraining"
"""The family whose members may have an architecture. It is read by name: a room does not import the ones above it."""

ARCHITECTURE = "architecture"
"""The file, next to the method's `__init__.py`."""


def own_architecture(settings: Mapping[str, Any], path: Path) -> Architecture | None:
    """The architecture that a pretraining method brought; None where `settings` are those of a general backbone.

    Args:
        settings: `backbone` of a file's header.
        path: the file, for the error.

    Raises:
        CheckpointError: where the method's present code does not know these settings.
    """
    kind = str(settings.get("kind"))
    if kind not in members(METHODS) or ARCHITECTURE not in members(f"{METHODS}.{kind}"):
        return None
    config = load_member(f"{METHODS}.{kind}", ARCHITECTURE).Config
    try:
        return cast(Architecture, config(**settings))
    except ValidationError as error:
        raise CheckpointError(
            f"{path}: its architecture {dict(settings)} is unknown to components/{METHODS}/{kind}/{ARCHITECTURE}.py "
            f"({error.errors()[0]['msg']}); rerun the stage that made it"
        ) from error
