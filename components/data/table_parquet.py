"""Tables as parquet, of which only the wanted columns are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.base.errors import DataError
from components.base.normal_form import clean
from components.data.read_report import ReadReport

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ParquetTable:
    """A parquet file whose schema was read; see `table_format.OpenTable`."""

    file: Path
    header: tuple[str, ...]
    form: str
    names: tuple[str, ...]
    """As in the file."""

    def read(self, places: Sequence[int], report: ReadReport) -> list[list[str]]:  # noqa: ARG002  # as the other tables
        """See `table_format.OpenTable`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        wanted = sorted(set(places))
        try:
            table = pq.ParquetFile(self.file).read(columns=sorted({self.names[place] for place in wanted}))
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self.file, error) from error
        columns = dict(zip(self._order(table.column_names), table.columns, strict=True))
        texts = {place: self._texts(columns[place], self.header[place]) for place in wanted}
        return [texts[place] for place in places]

    def _order(self, read: Sequence[str]) -> list[int]:
        """The place in the file of each column that was read."""
        places: dict[str, list[int]] = {}
        for place, name in enumerate(self.names):
            places.setdefault(name, []).append(place)
        return [places[name].pop(0) for name in read]

    def _texts(self, column: pa.ChunkedArray, name: str) -> list[str]:
        """The cells as text; whole numbers without a decimal point, since ids with gaps are stored as 17.0."""
        import pyarrow as pa

        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_nested(column.type):
            raise DataError(
                f"{self.file}: the cells of column {name!r} are of the type {column.type}, expected text or numbers"
            )
        values = column.to_pylist()
        if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            return [self._decoded(value, name) for value in values]
        if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
            return [_number(value) for value in values]
        return ["" if value is None else str(value) for value in values]

    def _decoded(self, value: bytes | None, name: str) -> str:
        try:
            return "" if value is None else value.decode()
        except UnicodeDecodeError:
            raise DataError(f"{self.file}: the cells of column {name!r} are bytes that are not text in UTF-8") from None


def open_parquet(file: Path) -> ParquetTable:
    """The columns of a parquet file; see `tables.read_table`."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        names = tuple(pq.ParquetFile(file).schema_arrow.names)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from error
    return ParquetTable(file, tuple(map(clean, names)), "parquet", names)


def _damaged(file: Path, error: Exception) -> DataError:
    return DataError(f"{file}: is no parquet table, or damaged; copy or export it again").with_words(str(error))


def _number(value: Any) -> str:
    if value is None or value != value:  # a NaN is no number
        return ""
    return str(int(value)) if value == value // 1 else str(value)
