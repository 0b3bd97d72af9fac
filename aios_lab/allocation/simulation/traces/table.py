"""Rows of a CSV file by the names in its first line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

from aios_lab.allocation.simulation.traces.errors import TraceError
from aios_lab.allocation.simulation.traces.numbers import Place


def read_rows(
    lines: Iterable[str], source: str, needed: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[Place, tuple[str, ...]]]:
    """The texts of the ``needed`` and ``optional`` columns, in this order, stripped; an optional column that
    the file lacks is "" in every row.

    Raises:
        TraceError: the first line lacks a needed column or has one twice, a row has more or fewer fields than
            the first line, or the file is no CSV.
    """
    rows = csv.reader(lines, skipinitialspace=True, strict=True)
    row = 1
    try:
        header = [name.strip().lower() for name in next(filter(None, rows), [])]
        _check(header, Place(source, rows.line_num), needed, optional)
        # One place more than there are columns: the empty text of those that the file lacks.
        wanted = [header.index(name) if name in header else len(header) for name in (*needed, *optional)]
        pick = itemgetter(*wanted)
        row = rows.line_num + 1
        for texts in rows:
            if texts and len(texts) != len(header):
                raise TraceError(source, f"{len(texts)} fields, and the first row names {len(header)}.", row)
            if texts:
                yield Place(source, row), tuple(text.strip() for text in pick([*texts, ""]))
            # Where the next one begins: a quoted text may go on over several lines.
            row = rows.line_num + 1
    except csv.Error as error:
        raise TraceError(source, f"it is no CSV: {error}.", row) from None


def _check(header: Sequence[str], place: Place, needed: Sequence[str], optional: Sequence[str]) -> None:
    missing = [name for name in needed if name not in header]
    if missing:
        which = (
            f"the column {missing[0]} is" if len(missing) == 1 else f"the columns {', '.join(missing)} are"
        )
        raise TraceError(place.source, f"{which} missing.", place.row)
    twice = [name for name in (*needed, *optional) if header.count(name) > 1]
    if twice:
        raise TraceError(place.source, f"the column {twice[0]} stands there twice.", place.row)
