"""Limits of use that follow from the licences of images and weights, as sentences. No legal advice."""

from __future__ import annotations

from collections.abc import Mapping

from components.base.licence import Licence


def limits_of_use(sources: Mapping[str, Licence]) -> list[str]:
    """One sentence for each licence that forbids commercial use, or does not state whether it allows it.

    >>> images = Licence("HAM10000", "CC BY-NC 4.0", False, "Sci Data 5:180161 (2018)", "ViDIR group")
    >>> limits_of_use({"trained on": images})
    ["Weights trained on HAM10000 (CC BY-NC 4.0): no commercial use without the owners' permission."]

    Args:
        sources: by what was done with each, such as `trained on`.
    """
    return [sentence for what, each in sources.items() if (sentence := _limit(what, each))]


def _limit(what: str, source: Licence) -> str:
    start = f"Weights {what} {source.name} ({source.terms})"
    if source.commercial is False:
        return f"{start}: no commercial use without the owners' permission."
    if source.commercial is None:
        return f"{start}: ask the owners before any commercial use."
    return ""
