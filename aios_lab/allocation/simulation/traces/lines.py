"""The lines of a text file, plain or gzip, one at a time."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from aios_lab.allocation.simulation.traces.errors import TraceError

_GZIP = b"\x1f\x8b"
# Longer than any row of a trace, and short enough to refuse a file that has no lines at all.
_LONGEST = 1 << 16


def text_lines(path: Path) -> Iterator[str]:
    """Lines with their ends. Bytes that are no UTF-8 are replaced: they stand in comments.

    Raises:
        TraceError: the gzip file is cut short or damaged, or a line has no end.
        OSError: the file cannot be opened or read.
    """
    with open(path, "rb") as raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
        row = 0
        try:
            with io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="") as text:
                while line := text.readline(_LONGEST):
                    row += 1
                    if len(line) == _LONGEST:
                        raise TraceError(str(path), f"the row has {_LONGEST:,} characters or more.", row)
                    yield line
        except (EOFError, gzip.BadGzipFile, zlib.error):
            raise TraceError(
                str(path), "the gzip file is cut short or damaged after this row.", row
            ) from None
