"""Families: packages under components/ whose modules are alternatives of one kind, one alternative a file.

A folder is the registry of its family. A new backbone, adapter, pretraining method, metric, corruption or figure is a
new file; a setting names it, and nothing else changes. Names are read from the folder without importing anything, so
that checking a setting is fast and needs no torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from types import ModuleType
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from components.base.errors import SettingsError

ROOT = Path(__file__).resolve().parents[1]


def members(family: str) -> tuple[str, ...]:
    """Names of a family's files in alphabetical order; `family` is a package below components, `models.backbones`."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules([str(folder(family))])))


def folder(family: str) -> Path:
    """The folder that holds a family's files."""
    return ROOT.joinpath(*family.split("."))


def load_member(family: str, name: str) -> ModuleType:
    """The module of one member.

    Raises:
        SettingsError: where the family has no such file; the message lists the existing ones.
    """
    if name not in members(family):
        raise SettingsError(missing(family, name))
    return importlib.import_module(f"components.{family}.{name}")


def missing(family: str, name: str) -> str:
    """The message about a name that is no file of the family."""
    return f"{name!r} is no file in components/{family.replace('.', '/')}, expected one of {', '.join(members(family))}"


class MemberOf:
    """Annotation for a setting that is the name of one member: `Annotated[str, MemberOf("robustness.corruptions")]`."""

    def __init__(self, family: str) -> None:
        self.family = family

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, name: str) -> str:
        if name not in members(self.family):
            raise ValueError(missing(self.family, name))
        return name
