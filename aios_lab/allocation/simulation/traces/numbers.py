"""Numbers out of the text of a trace, or what is wrong with them."""

from __future__ import annotations

import math

from aios_lab.allocation.simulation.traces.errors import TraceError

# Whole numbers up to here are exact in a float, and fit a column.
GREATEST = 1 << 53


class Place:
    """Where a value stands: file, row and field, for the error that may have to be raised."""

    __slots__ = ("row", "source")

    def __init__(self, source: str, row: int) -> None:
        self.source = source
        self.row = row

    def wrong(self, field: str, problem: str) -> TraceError:
        return TraceError(self.source, problem, self.row, field)

    def number(self, field: str, text: str) -> float:
        """A finite number."""
        try:
            value = float(text)
        except ValueError:
            raise self.wrong(field, f"{_short(text)} is not a number.") from None
        if not math.isfinite(value):
            raise self.wrong(field, f"{_short(text)} is not a finite number.")
        return value

    def amount(self, field: str, text: str) -> float:
        """A number, 0 or more, that can be counted with."""
        value = self.number(field, text)
        if value < 0:
            raise self.wrong(field, f"{_short(text)} is negative.")
        if value > GREATEST:
            raise self.wrong(field, f"{_short(text)} is too large.")
        return value

    def whole(self, field: str, text: str) -> int:
        """A whole number, 0 or more."""
        value = self.amount(field, text)
        if not value.is_integer():
            raise self.wrong(field, f"{_short(text)} is not a whole number.")
        return int(value)


def _short(text: str) -> str:
    if not text.strip():
        return "an empty field"
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
