"""Small workloads for tests, and the protocol once more: slow, and written straight down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np

from aios_lab.allocation.simulation.orders import Waiting
from aios_lab.allocation.simulation.protocol import Workload


@dataclass
class Row:
    """A job; times in seconds. -1 is unknown."""

    submit: int
    run: int
    requested: int
    processors: int
    start: int = -1


def work(capacity: int, *rows: Row) -> Workload:
    jobs = tuple(Waiting(row.submit, row.requested, row.processors) for row in rows)
    return Workload("a test", capacity, tuple(range(len(rows))), jobs, tuple(row.run for row in rows))


def swf_line(number: int, row: Row) -> str:
    return (
        f"{number} {row.submit} -1 {row.run} {row.processors} -1 -1 {row.processors} {row.requested} "
        "-1 1 1 1 -1 1 -1 -1 -1\n"
    )


def write_swf(path: Path, rows: Iterable[Row], processors: int = 4) -> Path:
    lines = [swf_line(number, row) for number, row in enumerate(rows, 1)]
    path.write_text(f"; MaxProcs: {processors}\n" + "".join(lines))
    return path


def busy(seed: int, count: int, processors: int) -> list[Row]:
    """Jobs that come faster than they can be served, many in the same second, with poor estimates."""
    random = Random(seed)
    now, rows = 10, []
    for _ in range(count):
        now += random.choice((0, 0, 1, 5, 20, 60))
        run = random.choice((1, 5, 10, 40, 100, 300))
        estimate = random.choice((run, run, run * 3, max(1, run // 2), -1))
        rows.append(Row(now, run, estimate, random.choice((1, 1, 2, 3, processors // 2, processors))))
    return rows


def _log10(seconds: float) -> float:
    return float(np.log10(seconds if seconds > 0 else 0.1))


# Written from the published formulas, with numpy, as the published table was.
SCORES: dict[str, Callable[[Row, float], object]] = {
    "fcfs": lambda row, wait: row.submit,
    "sjf": lambda row, wait: (row.requested, row.submit),
    "saf": lambda row, wait: row.requested * row.processors,
    "wfp3": lambda row, wait: -np.power(float(wait) / row.requested, 3) * row.processors,
    "unicep": lambda row, wait: -(wait + 1e-15) / (np.log2(row.processors + 1e-15) * row.requested),
    "f1": lambda row, wait: _log10(row.requested) * row.processors + 870 * _log10(row.submit),
}


def slowly(rows: Sequence[Row], capacity: int, order: str, backfill: bool, defect: bool = False) -> list[int]:
    """Starts by the text of the protocol."""
    for row in rows:
        row.start = -1
    now, coming = rows[0].submit, list(rows)
    queue: list[Row] = []
    running: list[Row] = []

    def free() -> int:
        return capacity - sum(row.processors for row in running)

    def event() -> None:
        nonlocal now
        running.sort(key=lambda row: row.start + row.run)
        if coming and (not running or coming[0].submit <= running[0].start + running[0].run):
            now = max(now, coming[0].submit)
            queue.append(coming.pop(0))
        else:
            now = max(now, running[0].start + running[0].run)
            running.pop(0)

    def start(row: Row) -> None:
        row.start = now
        running.append(row)
        queue[:] = [other for other in queue if other is not row]

    while queue or coming:
        while not queue:
            event()
        queue.sort(key=lambda row: SCORES[order](row, (-1 if defect else now) - row.submit))  # type: ignore[arg-type,return-value]
        head, shadow = queue[0], now
        if backfill and head.processors > free():
            running.sort(key=lambda row: row.start + row.requested)
            together = free()
            for row in running:
                together, shadow = together + row.processors, row.start + row.requested
                if together >= head.processors:
                    break
        while head.processors > free():
            if backfill:
                queue.sort(key=lambda row: row.submit)
                for row in list(queue):
                    if row.processors <= free() and now + row.requested < shadow:
                        start(row)
            event()
        start(head)
    return [row.start for row in rows]


def figures(
    rows: Sequence[Row], capacity: int, order: str, backfill: bool, defect: bool
) -> tuple[float, float]:
    """Mean bounded slowdown and utilisation of the slow schedule."""
    starts = slowly(rows, capacity, order, backfill, defect)
    slowdowns = [max(1, (row.start + row.run - row.submit) / max(row.run, 10)) for row in rows]
    done = sum(row.run * row.processors for row in rows)
    return float(np.mean(slowdowns)), done / ((max(starts) - rows[0].submit) * capacity)
