"""One function for every format, which is recognised by what the file says."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from aios_lab.allocation.simulation.traces.alibaba import read_alibaba
from aios_lab.allocation.simulation.traces.errors import TraceError
from aios_lab.allocation.simulation.traces.lines import text_lines
from aios_lab.allocation.simulation.traces.philly import read_philly
from aios_lab.allocation.simulation.traces.swf import read_swf
from aios_lab.allocation.simulation.traces.trace import MOST, Trace

FORMATS: Mapping[str, Callable[[Iterable[str], str, int | None, int], Trace]] = {
    "swf": read_swf,
    "alibaba": read_alibaba,
    "philly": read_philly,
}
# A first line with one of these is of that format, so that its reader says which columns are missing.
_COLUMNS = {
    "alibaba": {"cpu_milli", "memory_mib", "gpu_milli", "creation_time"},
    "philly": {"timestamp", "duration", "num_gpus"},
}


def read_trace(
    path: str | os.PathLike[str],
    format: str | None = None,
    first: int | None = None,
    most: int = MOST,
) -> Trace:
    """Read a trace, plain or gzip, line by line; the format is recognised unless it is named.

    With ``first`` only so many jobs are read, as they stand in the file.

    Raises:
        TraceError: the file is empty, of no format that is known, has more than ``most`` jobs, or a row is
            wrong.
        ValueError: ``format`` is none of swf, alibaba and philly, or ``first`` is less than 1.
        OSError: the file cannot be opened or read.
    """
    if format is not None and format not in FORMATS:
        raise ValueError(f"There is no trace format {format!r}; there are {', '.join(FORMATS)}.")
    source = str(path)
    lines = text_lines(Path(path))
    # Blank lines stay in front, so that rows are counted as an editor counts them.
    seen = []
    for line in lines:
        seen.append(line)
        if line.strip():
            break
    else:
        raise TraceError(source, "the file is empty.")
    found = format or _recognise(seen[-1])
    if found is None:
        raise TraceError(
            source,
            "this is no trace that is known: a Standard Workload Format file begins with a semicolon or with "
            "18 numbers, a CSV file of pods or jobs with the names of its columns.",
            len(seen),
        )
    return FORMATS[found](itertools.chain(seen, lines), source, first, most)


def _recognise(line: str) -> str | None:
    """The format of a file whose first line with anything in it is this."""
    if line.lstrip().startswith(";"):
        return "swf"
    names = {name.strip().strip('"').lower() for name in line.split(",")}
    best = max(_COLUMNS, key=lambda format: len(_COLUMNS[format] & names))
    if _COLUMNS[best] & names:
        return best
    first = line.split()[0]
    return "swf" if "," not in line and first.lstrip("-").isdigit() else None
