"""The licence of a data set or of published weights, as the file that reads them states it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Licence:
    """What the owners of a data set or of weights allow, looked up where they state it. No legal advice."""

    name: str
    """Of the data set or of the weights."""

    licence: str | None
    """Its name, such as `CC BY 4.0`; None: not known."""

    commercial: bool | None
    """True where commercial use is allowed, False where it is forbidden; None: not known."""

    citation: str
    """The paper to cite."""

    home: str
    """Owner, and where the data or weights are published."""

    note: str = ""
    """Further terms, as whole sentences."""

    @property
    def terms(self) -> str:
        """The licence, or that it is not known.

        >>> Licence("HAM10000", "CC BY-NC 4.0", False, "Sci Data 5:180161 (2018)", "ViDIR group").terms
        'CC BY-NC 4.0'
        """
        return self.licence or "not known: ask the owners"
