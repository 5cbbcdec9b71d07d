"""Images in the rows of a parquet or Arrow table, read in place, as the Hugging Face Hub and `datasets` store them.

A column of images is a struct of `bytes` and `path` (`datasets.Image`), or plain bytes where a path names the column.
Of a parquet file one row group is in memory at a time; an Arrow file is mapped, not read.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.data.source_error import SourceError

if TYPE_CHECKING:
    import pyarrow as pa

FILES_OPEN = 16
"""Tables that a process keeps open."""

ROW_GROUPS = 2
"""Row groups of parquet files in memory: two, since several threads read at the border of two groups."""

MOST_BYTES = 2**31
"""Of a row group's images: `datasets` writes 100 rows a group, other programs up to a million."""

_one_at_a_time = threading.RLock()  # two threads that read the same row group would hold it twice


def read_row(file: Path, here: str, inside: str) -> bytes:
    """The bytes of one row's image.

    Args:
        file: the parquet or Arrow file.
        here: its path relative to the data set's folder, for messages.
        inside: the row, `17` or `0017`, of the first column of images; or column and row, `mask/17`.

    Raises:
        SourceError: where the file is damaged, or has no such column, row or image.
        OSError: where the file cannot be opened.
    """
    column, _, row = inside.rpartition("/")
    with _one_at_a_time, _named(here):
        table = open_rows(file)
        if not row.isascii() or not row.isdigit() or int(row) >= table.rows:
            raise SourceError("missing", f"{here} has rows 0 to {table.rows - 1}, no {row!r}")
        names = image_columns(table.schema)
        if not column and not names:
            raise SourceError("missing", f"{here} has no column of images among its {len(table.schema.names)}")
        value = table.value(column or names[0], int(row))
    if not isinstance(value, bytes):
        raise SourceError("missing", f"{here}: row {row} holds no bytes of an image")
    return value


def count_rows(file: Path) -> dict[str, int]:
    """Column of images -> number of rows; empty where the table has no such column.

    Raises:
        SourceError: where the file is damaged.
        OSError: where it cannot be opened.
    """
    with _one_at_a_time:
        table = open_rows(file)
        return dict.fromkeys(image_columns(table.schema), table.rows)


def row_names(rows: int) -> Iterator[str]:
    """The names of all rows, with zeros before, so that sorted paths are read in the order of the file."""
    width = len(str(max(rows - 1, 0)))
    return (f"{row:0{width}d}" for row in range(rows))


def image_columns(schema: pa.Schema) -> list[str]:
    """Names of the columns of images, those first that `datasets` describes as such."""
    described = [name for name, feature in features(schema).items() if feature.get("_type") == "Image"]
    typed = [field.name for field in schema if _is_struct_of_bytes(field.type)]
    return list(dict.fromkeys([*(name for name in described if name in typed), *typed]))


def features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """What `datasets` wrote into the file about its columns; empty where it wrote nothing."""
    try:
        found = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        return {str(name): feature for name, feature in found.items() if isinstance(feature, dict)}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


class Rows:
    """An opened table. Not safe for several threads: see `_one_at_a_time`."""

    def __init__(self, source: Any, schema: pa.Schema, starts: Sequence[int]) -> None:
        self.source = source
        """A ParquetFile, or a list of record batches."""
        self.schema = schema
        self.starts = starts
        """First row of each row group or batch, and the number of rows at the end."""

    @property
    def rows(self) -> int:
        """Of the whole table."""
        return self.starts[-1]

    def value(self, column: str, row: int) -> Any:
        """The bytes in one row; None where it is null."""
        group = next(index for index, (first, end) in enumerate(pairwise(self.starts)) if first <= row < end)
        return _group(self, group, column)[row - self.starts[group]].as_py()

    def column(self, name: str, group: int) -> pa.ChunkedArray | pa.Array:
        """A column of bytes in one row group or batch."""
        import pyarrow.compute as pc

        if self.schema.get_field_index(name) < 0:
            raise SourceError("missing", f"has no column {name!r}, or it twice")
        kind = self.schema.field(name).type
        nested = _is_struct_of_bytes(kind)
        if not nested and not _is_binary(kind):
            raise SourceError("unreadable", f"the cells of {name!r} are {kind}, expected bytes")
        if isinstance(self.source, list):
            array = self.source[group].column(name)
            array.validate(full=True)  # a damaged offset would lead out of the file
            return pc.struct_field(array, "bytes") if nested else array
        leaf = f"{name}.bytes" if nested else name
        self._refuse_size(leaf, group)
        table = self.source.read_row_group(group, columns=[leaf])
        found = table.column(name)
        return pc.struct_field(found, "bytes") if nested else found

    def values(self, name: str) -> list[Any]:
        """A whole column of text or numbers.

        Raises:
            SourceError: where it cannot be read, or holds lists or structs.
        """
        import pyarrow as pa

        kind = self.schema.field(name).type
        if pa.types.is_nested(kind):
            raise SourceError("unreadable", f"is {kind}, expected text or numbers")
        return [value for array in self._arrays(name) for value in array.to_pylist()]

    def outside(self, image: str) -> dict[int, str | None]:
        """Rows whose image has no bytes here -> its path or address, None where there is none.

        Of a parquet file the bytes are read only where the file does not state how many of them are missing.

        Raises:
            SourceError: where the column is none of images or of text, or is damaged.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        kind = self.schema.field(image).type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return dict(enumerate(self.values(image)))
        if not self._has_nulls(image):
            return {}
        found: dict[int, str | None] = {}
        for group, start in enumerate(self.starts[:-1]):
            with _named("it"):
                missing = pc.indices_nonzero(pc.is_null(self.column(image, group))).to_pylist()
            paths = self._paths(image, group) if missing else []
            found |= {start + row: paths[row] for row in missing}
        return found

    def _has_nulls(self, image: str) -> bool:
        """Whether some bytes may be missing, by the footer of a parquet file; of others by the data."""
        if isinstance(self.source, list):
            return True
        for group in range(self.source.metadata.num_row_groups):
            described = self.source.metadata.row_group(group)
            for index in range(described.num_columns):
                column = described.column(index)
                if column.path_in_schema in (image, f"{image}.bytes"):
                    stated = column.statistics
                    if stated is None or not stated.has_null_count or stated.null_count:
                        return True
        return False

    def _paths(self, image: str, group: int) -> list[str | None]:
        """The paths in one row group of a column of images; null for plain bytes."""
        import pyarrow.compute as pc

        kind = self.schema.field(image).type
        if not _is_struct_of_bytes(kind) or kind.get_field_index("path") < 0:
            return [None] * (self.starts[group + 1] - self.starts[group])
        if isinstance(self.source, list):
            found = self.source[group].column(image)
        else:
            found = self.source.read_row_group(group, columns=[f"{image}.path"]).column(image)
        return list(pc.struct_field(found, "path").to_pylist())

    def _arrays(self, name: str) -> Iterator[pa.Array]:
        """A column, one row group or batch at a time."""
        for group in range(len(self.starts) - 1):
            with _named("it"):
                if isinstance(self.source, list):
                    array = self.source[group].column(name)
                    array.validate(full=True)
                    yield array
                else:
                    yield self.source.read_row_group(group, columns=[name]).column(name)

    def _refuse_size(self, leaf: str, group: int) -> None:
        described = self.source.metadata.row_group(group)
        columns = (described.column(index) for index in range(described.num_columns))
        size = sum(column.total_uncompressed_size for column in columns if column.path_in_schema == leaf)
        if size > MOST_BYTES:
            raise SourceError(
                "unreadable",
                f"has a row group with {size / 2**30:.1f} GiB of images, which would be in memory at once; write it "
                "again with pyarrow.parquet.write_table(..., row_group_size=100)",
            )


def open_rows(file: Path) -> Rows:
    """The table in a parquet file or an Arrow file (stream or random access, as `datasets` and Feather write them).

    Raises:
        SourceError: where the file is damaged.
        OSError: where it cannot be opened.
    """
    with file.open("rb"):  # raises where it cannot be opened
        state = file.stat()
    found = _opened(file.absolute(), state.st_size, state.st_mtime_ns)
    if isinstance(found, SourceError):
        raise SourceError(found.problem, str(found))
    return found


@lru_cache(maxsize=FILES_OPEN)
def _opened(file: Path, size: int, mtime_ns: int) -> Rows | SourceError:  # noqa: ARG001  # the cache's key
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if file.suffix.lower() == ".arrow":
            return _readable(_open_arrow(file))
        parquet = pq.ParquetFile(file)
        groups = [parquet.metadata.row_group(index).num_rows for index in range(parquet.metadata.num_row_groups)]
        return _readable(Rows(parquet, parquet.schema_arrow, _starts(groups)))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        kind = "Arrow file" if file.suffix.lower() == ".arrow" else "parquet file"
        return SourceError("unreadable", f"is not an intact {kind} ({type(error).__name__}); copy it again")


def _readable(table: Rows) -> Rows:
    """The table itself; a UnicodeError where a name of a column is damaged."""
    image_columns(table.schema)
    return table


def _open_arrow(file: Path) -> Rows:
    import pyarrow as pa

    mapped = pa.memory_map(str(file))
    try:
        reader = pa.ipc.open_stream(mapped)
        batches = list(reader)
    except pa.ArrowInvalid:
        mapped.seek(0)
        reader = pa.ipc.open_file(mapped)
        batches = [reader.get_batch(index) for index in range(reader.num_record_batches)]
    return Rows(batches, reader.schema, _starts([batch.num_rows for batch in batches]))


def _starts(counts: Sequence[int]) -> list[int]:
    starts = [0]
    for count in counts:
        starts.append(starts[-1] + count)
    return starts


@lru_cache(maxsize=ROW_GROUPS)
def _group(table: Rows, group: int, column: str) -> pa.ChunkedArray | pa.Array:
    return table.column(column, group)


@contextmanager
def _named(here: str) -> Iterator[None]:
    """Errors with the path of the table."""
    import pyarrow as pa

    try:
        yield
    except SourceError as error:
        raise SourceError(error.problem, str(error) if here in str(error) else f"{here}: {error}") from error
    except (pa.ArrowException, OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise SourceError("unreadable", f"{here} is damaged ({type(error).__name__}); copy it again") from error


def _is_struct_of_bytes(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    return _is_binary(kind.field("bytes").type) and {field.name for field in kind} <= {"bytes", "path"}


def _is_binary(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))
