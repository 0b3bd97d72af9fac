"""The Standard Workload Format, version 2.2 (Feitelson et al., Parallel Workloads Archive): comments that
begin with a semicolon, then 18 numbers a job, of which -1 says unknown."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from aios_lab.allocation.simulation.traces.errors import TraceError
from aios_lab.allocation.simulation.traces.numbers import GREATEST, Place
from aios_lab.allocation.simulation.traces.trace import MOST, Shape, Trace, TraceBuilder
from aios_lab.allocation.types import Resources

FIELDS = (
    "job number",
    "submit time",
    "wait time",
    "run time",
    "allocated processors",
    "average CPU time",
    "used memory",
    "requested processors",
    "requested time",
    "requested memory",
    "status",
    "user",
    "group",
    "executable",
    "queue",
    "partition",
    "preceding job",
    "think time",
)
_JOB, _SUBMIT, _RUN, _ALLOCATED, _ASKED, _ESTIMATE, _USER, _GROUP, _QUEUE = map(
    FIELDS.index,
    (
        "job number",
        "submit time",
        "run time",
        "allocated processors",
        "requested processors",
        "requested time",
        "user",
        "group",
        "queue",
    ),
)
# In these -1 says unknown, except in the submit time, and anything else below 0 is wrong.
_COUNTS = (_JOB, _ALLOCATED, _ASKED)
_USED = (_SUBMIT, _RUN, _ESTIMATE, *_COUNTS)
_PROCESSOR: Shape = (Resources(cpu=1000), ())
_HEADER = re.compile(r";\s*(\w+):\s*(.*\S)")
_INTEGER = re.compile(r"\d+(?!\S)")


def read_swf(lines: Iterable[str], source: str, first: int | None = None, most: int = MOST) -> Trace:
    """Read jobs of ``max(allocated, requested)`` processors, 1000 milli-CPU each, with the user's estimate.

    A job that names no processors is left out, with a note. ``Trace.processors`` is the header's MaxProcs,
    else its MaxNodes; ``Trace.began`` its UnixStartTime.

    Only the ``first`` so many jobs are read, if that is given.

    Raises:
        ValueError: ``first`` is less than 1.
        TraceError: there are more than ``most`` jobs, a row has not 18 fields, or a field is no number, not
            finite, negative or not whole where it may not be.
    """
    builder = TraceBuilder(source, "swf", first, most)
    header: dict[str, str] = {}
    for row, line in enumerate(lines, 1):
        if line.lstrip().startswith(";"):
            if match := _HEADER.match(line.lstrip()):
                header.setdefault(match[1], match[2])
            continue
        texts = line.split()
        if texts:
            _add(builder, texts, Place(source, row))
        if builder.full:
            break
    began = _header_number(header, "UnixStartTime")
    processors = _header_number(header, "MaxProcs") or _header_number(header, "MaxNodes") or None
    return builder.finish(header, processors, None if began is None else float(began))


def _add(builder: TraceBuilder, texts: list[str], place: Place) -> None:
    values = _values(texts, place)
    processors = max(values[_ALLOCATED], values[_ASKED])
    if processors < 1:
        builder.note("the job names no processors and is left out", place.row)
        return
    builder.add(
        id=int(values[_JOB]),
        submit=values[_SUBMIT],
        run=values[_RUN],
        requested=values[_ESTIMATE],
        count=int(processors),
        shape=_PROCESSOR,
        user=_name(texts[_USER]),
        group=_name(texts[_GROUP]),
        queue=_name(texts[_QUEUE]),
        row=place.row,
    )


def _values(texts: list[str], place: Place) -> list[float]:
    """All 18 numbers. The common case is checked in a few calls: traces have millions of rows."""
    if len(texts) != len(FIELDS):
        problem = f"{len(texts)} fields, and the Standard Workload Format has {len(FIELDS)}."
        raise TraceError(place.source, problem, place.row)
    try:
        values = list(map(float, texts))
    except ValueError:
        values = []
    if not values or not math.isfinite(sum(values)):
        values = [place.number(field, text) for field, text in zip(FIELDS, texts, strict=True)]
    for index in _USED:
        value = values[index]
        if value < 0 and (value != -1 or index == _SUBMIT):
            unless = "" if index == _SUBMIT else ", and not the -1 that says unknown"
            raise place.wrong(FIELDS[index], f"{texts[index]} is negative{unless}.")
        if value > GREATEST:
            raise place.wrong(FIELDS[index], f"{texts[index]} is too large.")
    for index in _COUNTS:
        if not values[index].is_integer():
            raise place.wrong(FIELDS[index], f"{texts[index]} is not a whole number.")
    return values


def _name(text: str) -> str:
    return "" if text == "-1" else text


def _header_number(header: Mapping[str, str], name: str) -> int | None:
    """The number that a header line begins with; None where there is none, as in "MaxProcs: unknown"."""
    match = _INTEGER.match(header.get(name, ""))
    return int(match[0]) if match else None
