"""What reading a data set did beyond its rows: tables, joins, changed cells, files without a row, warnings.

An adapter and its helpers fill a `ReadReport`. Messages and counts go to the log, to metrics and to the data page;
`examples` are the data set's own words: with private data they stay in the report's file on this host.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

EXAMPLES = 20
"""Examples kept of one warning."""


@dataclass(frozen=True)
class TableRead:
    """One table, as it was read."""

    file: str
    """Path below the data set's folder."""
    rows: int
    form: str
    """Such as `separator ';', utf-8`, or `parquet`."""


@dataclass(frozen=True)
class Join:
    """An optional table, and how many of the data set's rows it has something about."""

    table: str
    matched: int
    rows: int
    how: str
    """How the ids were matched: `equal`, or the rule by which most of them were."""


@dataclass(frozen=True)
class ReadWarning:
    """Something that a person should know or fix."""

    kind: str
    """One word for metrics, such as `similar_ids`."""
    count: int
    message: str
    """One sentence, without words of the table."""
    examples: tuple[str, ...] = ()


@dataclass
class ReadReport:
    """Filled while a data set is read."""

    tables: list[TableRead] = field(default_factory=list)
    joins: list[Join] = field(default_factory=list)
    changed: Counter[str] = field(default_factory=Counter)
    """Column -> cells that got another form before they were compared."""
    files: dict[str, int] = field(default_factory=dict)
    """What lies in the folder: `images with a row`, `images without a row`, `.heic` ... -> number of files, each
    counted once; see `folder_account`."""
    images: int = 0
    """Rows of the data set, one an image."""
    known_ids: dict[str, int] = field(default_factory=dict)
    """`patient_id` and `lesion_id` -> images that have one."""
    warnings: list[ReadWarning] = field(default_factory=list)

    def count_changed(self, column: str, cells: int) -> None:
        """Count cells of a column that got another form."""
        if cells:
            self.changed[column] += cells

    def warn(self, kind: str, count: int, message: str, examples: Iterable[str] = ()) -> None:
        """Add a warning; see `ReadWarning`. Bytes of a file's name that are no text are written as `\\udc..`."""
        first = [_as_text(example) for example, _ in zip(examples, range(EXAMPLES), strict=False)]
        self.warnings.append(ReadWarning(kind, count, _as_text(message), tuple(first)))

    def lines(self, *, with_examples: bool) -> list[str]:
        """The report as log lines.

        Args:
            with_examples: whether lines may contain words of the tables, as with published data.
        """
        tables = [f"{table.file}: {table.rows} rows ({table.form})" for table in self.tables]
        joins = [f"{join.table}: {join.matched} of {join.rows} images matched ({join.how})" for join in self.joins]
        cells = [f"{column}: {count} cells changed to one form" for column, count in sorted(self.changed.items())]
        ids = [f"{name}: known of {count} of {self.images} images" for name, count in self.known_ids.items()]
        files = [f"in the folder: {', '.join(f'{count} {kind}' for kind, count in self.files.items())}"]
        warnings = [_line(warning, with_examples) for warning in self.warnings]
        return tables + joins + cells + ids + (files if self.files else []) + warnings

    def counts(self) -> dict[str, Any]:
        """The report for metrics: numbers only."""
        return {
            "tables": {table.file: table.rows for table in self.tables},
            "joins": {join.table: {"matched": join.matched, "rows": join.rows} for join in self.joins},
            "cells_changed": dict(sorted(self.changed.items())),
            "files": self.files,
            "images": self.images,
            "known_ids": self.known_ids,
            "warnings": self._counts_by_kind(),
        }

    def _counts_by_kind(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for warning in self.warnings:
            counts[warning.kind] += warning.count
        return dict(sorted(counts.items()))

    def complete(self) -> dict[str, Any]:
        """The whole report as JSON data, for the file that stays with the data."""
        return {**asdict(self), "changed": dict(sorted(self.changed.items()))}

    @classmethod
    def parse(cls, data: dict[str, Any]) -> ReadReport:
        """The report that `complete` wrote."""
        return cls(
            tables=[TableRead(**table) for table in data["tables"]],
            joins=[Join(**join) for join in data["joins"]],
            changed=Counter(data["changed"]),
            files=dict(data["files"]),
            images=data["images"],
            known_ids=dict(data["known_ids"]),
            warnings=[
                ReadWarning(**{**warning, "examples": tuple(warning["examples"])}) for warning in data["warnings"]
            ],
        )


def _as_text(words: str) -> str:
    return words.encode("utf-8", "backslashreplace").decode()


def _line(warning: ReadWarning, with_examples: bool) -> str:
    shown = warning.examples[:3] if with_examples else ()
    return f"warning: {warning.message}" + (f": {'; '.join(shown)}" if shown else "")
