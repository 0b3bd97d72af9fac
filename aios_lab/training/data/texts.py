"""CSV files: read once, each by a worker, and kept as arrays, so that every epoch finds its rows at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aios_lab.training.data.block import Block, Choice, frame_columns
from aios_lab.training.data.files import Files, Listing, without_secrets
from aios_lab.training.data.gather import run_tasks
from aios_lab.training.data.prepared import Part, Prepared, write_all
from aios_lab.training.data.source import Source, Workshop, refuse

CHUNK_ROWS = 100_000  # rows that a worker holds at a time


class CsvFiles:
    """CSV or TSV files whose first line names the columns; what kind each is shows as they are read."""

    def __init__(self, listing: Listing, files: Files) -> None:
        columns = None if files.columns is None else tuple(files.columns)
        self._listing, self._choice = listing, Choice(columns, files.target)
        with listing.filesystem.open(listing.paths[0], "rb", compression="infer") as file:
            frames = _frames(file, listing.paths[0], rows=100)
            self._choice.needed([str(name) for name in next(frames).columns], listing.paths[0])

    def prepare(self, workshop: Workshop) -> Source:
        from dask.delayed import delayed

        workshop.folder.mkdir(parents=True, exist_ok=True)
        listing = self._listing.reachable(workshop)
        reading = delayed(_convert, pure=False)
        tasks = [
            reading(listing.filesystem, path, self._choice, str(workshop.folder / str(n)))
            for n, path in enumerate(listing.paths)
        ]
        return Prepared("CSV", self._listing.where, run_tasks(tasks, workshop, "file"))


def _convert(filesystem: Any, path: str, choice: Choice, to: str) -> list[Part]:
    """On a worker: read one file and write its rows."""
    with filesystem.open(path, "rb", compression="infer") as file:
        return write_all(_blocks(file, path, choice), to)


def _blocks(file: Any, path: str, choice: Choice) -> Iterator[Block]:
    needed: list[str] | None = None
    for frame in _frames(file, path):
        frame.columns = [str(name) for name in frame.columns]
        needed = needed or choice.needed(list(frame.columns), without_secrets(path))
        if len(frame):
            yield choice.block(frame_columns(frame[needed]))


def _frames(file: Any, path: str, rows: int = CHUNK_ROWS) -> Iterator[Any]:
    import pandas as pd

    tabs = path.removesuffix(".gz").lower().endswith(".tsv")
    try:
        with pd.read_csv(file, sep="\t" if tabs else ",", chunksize=rows) as frames:
            yield from frames
    except pd.errors.EmptyDataError:
        refuse(f"{without_secrets(path)} is empty: it has no columns.")
    except (pd.errors.ParserError, UnicodeDecodeError) as error:
        refuse(f"{without_secrets(path)} is no CSV file that can be read: {error}")
