"""Which maps of an encoder are pooled to the features that a head gets; read by settings, without torch."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import PositiveInt

Readout: TypeAlias = Literal["last_map", "all_stages"] | PositiveInt
"""The last map, the maps at the ends of all stages side by side, or the map at the end of one stage, counted from 1."""
