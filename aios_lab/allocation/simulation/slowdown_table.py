"""The slowdown table: orders with and without backfill over the protocol's sequences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aios_lab.allocation.simulation.orders import ORDERS
from aios_lab.allocation.simulation.protocol import LENGTH, STARTS, Workload, play
from aios_lab.allocation.simulation.tables import text_table
from aios_lab.allocation.words import count

CONFIDENCE = 0.95
RESAMPLES = 10_000
_HEADINGS = ("order", "slowdown", "95 % interval", "utilisation")


@dataclass(frozen=True, slots=True)
class Cell:
    """What one order came to: an entry a sequence in ``slowdowns`` and ``utilisations``."""

    order: str
    backfill: bool
    defect: bool
    slowdowns: tuple[float, ...]
    utilisations: tuple[float | None, ...]

    @property
    def title(self) -> str:
        return ORDERS[self.order].title + (" as published" if self.defect else "")

    @property
    def slowdown(self) -> float:
        """The mean over the sequences, the figure of the published table."""
        return math.fsum(self.slowdowns) / len(self.slowdowns)

    @property
    def utilisation(self) -> float | None:
        """The mean over the sequences that have one."""
        known = [value for value in self.utilisations if value is not None]
        return math.fsum(known) / len(known) if known else None

    def interval(self) -> tuple[float, float]:
        """Where the mean slowdown lies with 95 % confidence: the percentile bootstrap over the sequences
        (Efron and Tibshirani 1993, chapter 13), from 10,000 resamples of a fixed seed."""
        import numpy as np

        values = np.array(self.slowdowns)
        picks = np.random.default_rng(0).integers(len(values), size=(RESAMPLES, len(values)))
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(values[picks].mean(axis=1), [tail, 1 - tail])
        return float(low), float(high)


@dataclass(frozen=True, slots=True)
class SlowdownTable:
    source: str
    processors: int
    starts: tuple[int, ...]
    length: int
    cells: tuple[Cell, ...]

    def cell(self, order: str, *, backfill: bool, defect: bool = False) -> Cell:
        """Raises: KeyError: the table has no such cell."""
        for cell in self.cells:
            if (cell.order, cell.backfill, cell.defect) == (order, backfill, defect):
                return cell
        raise KeyError(f"The table has no {order}, backfill={backfill}, defect={defect}.")

    def to_table(self) -> str:
        """Means with their intervals, and every sequence; without backfill, then with it."""
        parts = [
            f"{self.source}, {self.processors:,} processors: average bounded slowdown over "
            f"{count(len(self.starts), 'sequence')} of {count(self.length, 'job')}."
        ]
        for backfill, name in ((False, "Without backfill"), (True, "With backfill")):
            cells = [cell for cell in self.cells if cell.backfill is backfill]
            parts += [name, text_table(_HEADINGS, map(_summary, cells)), self._sequences(cells)]
        return "\n\n".join(parts)

    def _sequences(self, cells: Sequence[Cell]) -> str:
        return text_table(
            ["from job", *(cell.title for cell in cells)],
            (
                [str(start), *(f"{cell.slowdowns[index]:.2f}" for cell in cells)]
                for index, start in enumerate(self.starts)
            ),
            left=0,
        )

    def to_json(self) -> dict[str, object]:
        return {
            "protocol": "rlscheduler",
            "trace": self.source,
            "processors": self.processors,
            "starts": list(self.starts),
            "length": self.length,
            "interval": {"method": "percentile bootstrap", "confidence": CONFIDENCE, "resamples": RESAMPLES},
            "cells": [
                {
                    "order": cell.order,
                    "backfill": cell.backfill,
                    "defect": cell.defect,
                    "slowdown": cell.slowdown,
                    "slowdown_interval": list(cell.interval()),
                    "slowdowns": list(cell.slowdowns),
                    "utilisation": cell.utilisation,
                    "utilisations": list(cell.utilisations),
                }
                for cell in self.cells
            ],
        }


def evaluate(
    work: Workload,
    orders: Iterable[str] = tuple(ORDERS),
    *,
    defect: bool = False,
    starts: Sequence[int] = STARTS,
    length: int = LENGTH,
) -> SlowdownTable:
    """Run the protocol for each order, without and with backfill.

    ``defect`` adds WFP3 and UNICEP as the published table has them (see ``play``) beside the right ones.

    Raises:
        ValueError: an order is not known, no sequence is named, or one reaches beyond the jobs.
    """
    names = list(dict.fromkeys(orders))
    unknown = [name for name in names if name not in ORDERS]
    if unknown or not names:
        what = f"There is no order {unknown[0]!r}" if unknown else "No order is named"
        raise ValueError(f"{what}; there are {', '.join(ORDERS)}.")
    if not starts:
        raise ValueError("No sequence is named: give the index of the job that each begins with.")
    parts = [work.part(first, length) for first in starts]
    cells = []
    for backfill in (False, True):
        for name in names:
            for wrong in (False, True) if defect and ORDERS[name].ages else (False,):
                schedules = [play(part, ORDERS[name], backfill=backfill, defect=wrong) for part in parts]
                slowdowns = tuple(schedule.slowdown for schedule in schedules)
                used = tuple(schedule.utilisation for schedule in schedules)
                cells.append(Cell(name, backfill, wrong, slowdowns, used))
    return SlowdownTable(work.source, work.processors, tuple(starts), length, tuple(cells))


def _summary(cell: Cell) -> list[str]:
    low, high = cell.interval()
    used = "–" if cell.utilisation is None else f"{cell.utilisation:.3f}"
    return [cell.title, f"{cell.slowdown:.2f}", f"{low:.2f} – {high:.2f}", used]
