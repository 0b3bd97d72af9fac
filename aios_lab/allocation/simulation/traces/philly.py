"""Rows of GPU jobs: timestamp, duration, num_gpus, as derived from Microsoft's Philly traces (Jeon et al.,
USENIX ATC 2019)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime

from aios_lab.allocation.simulation.traces.numbers import Place
from aios_lab.allocation.simulation.traces.table import read_rows
from aios_lab.allocation.simulation.traces.trace import MOST, UNKNOWN, Shape, Trace, TraceBuilder
from aios_lab.allocation.types import Resources

NEEDED = ("timestamp", "duration", "num_gpus")
OPTIONAL = ("user", "cluster")
_GPU: Shape = (Resources(gpu=1000), ())


def read_philly(lines: Iterable[str], source: str, first: int | None = None, most: int = MOST) -> Trace:
    """Read jobs of ``num_gpus`` whole GPUs for ``duration`` seconds; the virtual cluster is the group.

    Timestamps are all dates ("2017-10-09 07:01:55", UTC where they name no zone), and ``Trace.began`` is the
    earliest, or all seconds since the trace began. Jobs without a GPU are left out, with a note. Ids count
    the rows from 0.

    Only the ``first`` so many jobs are read, if that is given.

    Raises:
        ValueError: ``first`` is less than 1.
        TraceError: there are more than ``most`` jobs, a column is missing, a row has too many or too few
            fields, a field is no number, not finite, negative or not whole, or a timestamp is of the other
            kind than the first.
    """
    builder = TraceBuilder(source, "philly", first, most)
    dates: bool | None = None
    for id, (place, (timestamp, duration, num_gpus, user, cluster)) in enumerate(
        read_rows(lines, source, NEEDED, OPTIONAL)
    ):
        if dates is None:
            dates = _is_date(timestamp)
        submit = _date(place, timestamp) if dates else place.amount("timestamp", timestamp)
        run, gpus = place.amount("duration", duration), place.whole("num_gpus", num_gpus)
        if gpus == 0:
            builder.note("the job asks for no GPU and is left out", place.row)
            continue
        builder.add(id, submit, run, UNKNOWN, gpus, _GPU, user=user, group=cluster, row=place.row)
        if builder.full:
            break
    if not dates:
        return builder.finish()
    began = min(builder.columns.submit, default=math.nan)
    builder.shift(-began)
    return builder.finish(began=began)


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    # "20171009" is both; nobody writes a date of a trace so, and seconds may well look like it.
    return not text.isdigit()


def _date(place: Place, text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise place.wrong("timestamp", f"{text!r} is not a time such as 2017-10-09 07:01:55.") from None
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
