"""Parquet files: ranks read the row groups that they need, each as a whole, and the next ones ahead."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from aios_lab.training.data.block import Array, Choice, frame_columns
from aios_lab.training.data.files import Files, Listing
from aios_lab.training.data.source import Description, Digest, Source, Workshop, counted, needs, refuse

FOOTERS = 8  # files whose footers are read at a time


@dataclass(frozen=True, slots=True)
class Group:
    """A row group: its file's and its own number, rows, bytes to read of it and bytes in memory."""

    file: int
    number: int
    rows: int
    stored: int
    loaded: int


class ParquetFiles:
    """Parquet files of one schema."""

    def __init__(self, listing: Listing, files: Files) -> None:
        with needs("pyarrow", "Reading Parquet files"):
            import pyarrow.parquet  # noqa: F401  # only to find it missing before a run begins
        columns = None if files.columns is None else tuple(files.columns)
        self._listing, self._choice = listing, Choice(columns, files.target)
        with ThreadPoolExecutor(FOOTERS) as pool:
            footers = list(pool.map(self._footer, listing.paths))
        self._columns = self._choice.needed(footers[0].schema.to_arrow_schema().names, listing.paths[0])
        for path, footer in zip(listing.paths, footers, strict=True):
            self._choice.needed(footer.schema.to_arrow_schema().names, path)
        self._groups = [group for n, footer in enumerate(footers) for group in self._groups_of(n, footer)]
        if not self._groups:
            refuse(f"{listing.where} has no rows: there is nothing to train on.")
        self._floats = self._with_gaps(footers)

    def prepare(self, workshop: Workshop) -> Source:
        where, digest = self._listing.where, self._listing.digest()
        listing = self._listing.reachable(workshop)
        return Parquet(listing, where, digest, self._choice, self._columns, self._groups, self._floats)

    def _footer(self, path: str) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            with self._listing.filesystem.open(path, "rb") as file:
                return pq.ParquetFile(file).metadata
        except pa.ArrowException as error:
            refuse(f"{path} is no Parquet file that can be read: {error}")

    def _groups_of(self, file: int, footer: Any) -> list[Group]:
        groups = []
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            chunks = [group.column(n) for n in range(group.num_columns)]
            read = [chunk for chunk in chunks if chunk.path_in_schema.partition(".")[0] in self._columns]
            stored = sum(chunk.total_compressed_size for chunk in read)
            loaded = sum(chunk.total_uncompressed_size for chunk in read)
            if group.num_rows:
                groups.append(Group(file, number, group.num_rows, stored, loaded))
        return groups

    def _with_gaps(self, footers: list[Any]) -> frozenset[str]:
        """Columns that are read as float64, since values are missing in some group or may be."""
        found = set()
        for footer in footers:
            for number in range(footer.num_row_groups):
                group = footer.row_group(number)
                for n in range(group.num_columns):
                    chunk = group.column(n)
                    seen = chunk.statistics
                    if seen is None or not seen.has_null_count or seen.null_count:
                        found.add(chunk.path_in_schema)
        return frozenset(found)


class Parquet:
    """Row groups of files, as a source."""

    def __init__(
        self,
        listing: Listing,
        where: str,
        digest: Digest,
        choice: Choice,
        columns: Sequence[str],
        groups: Sequence[Group],
        floats: frozenset[str],
    ) -> None:
        self._filesystem, self._paths = listing.filesystem, listing.paths
        self._where, self._digest = where, digest
        self._choice, self._columns, self._groups, self._floats = choice, list(columns), groups, floats

    def describe(self) -> Description:
        where = f"{self._where}, {counted(len(self._groups), 'row group')}"
        rows = sum(group.rows for group in self._groups)
        return Description("Parquet", where, rows, tuple(self._columns), len(self._groups))

    def digest(self) -> Digest:
        return self._digest

    def open(self, rank: int, world: int) -> Any:
        from aios_lab.training.data.block import Shape
        from aios_lab.training.data.rows import StreamedRows

        shape = Shape("dict", tuple(self._columns)) if self._choice.target is None else Shape("tuple")
        largest = max(group.loaded for group in self._groups)
        sizes = [group.rows for group in self._groups]
        return StreamedRows(shape, sizes, self.load, largest, rank, world)

    def load(self, part: int) -> tuple[tuple[Array, ...], int]:
        """One row group, and how many bytes were read for it."""
        import pyarrow.parquet as pq

        group = self._groups[part]
        with self._filesystem.open(self._paths[group.file], "rb") as file:
            table = pq.ParquetFile(file).read_row_group(group.number, columns=self._columns)
        frame = (
            self._numbers(table).select(self._columns).to_pandas(date_as_object=False, ignore_metadata=True)
        )
        return self._choice.block(frame_columns(frame)).leaves, group.stored

    def _numbers(self, table: Any) -> Any:
        """With decimals, and whole numbers that may be missing, as float64: alike in every group."""
        import pyarrow as pa

        for place, field in enumerate(table.schema):
            kind = field.type
            gaps = field.name in self._floats and (pa.types.is_integer(kind) or pa.types.is_boolean(kind))
            if pa.types.is_boolean(kind) and gaps:
                table = table.set_column(place, field.name, table.column(place).cast(pa.int8()))
            if gaps or pa.types.is_decimal(kind):
                table = table.set_column(place, field.name, table.column(place).cast(pa.float64()))
        return table
