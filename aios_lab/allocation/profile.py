"""Free room over time: what running claims give back, and what is promised to those who wait."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable

from aios_lab.allocation.room import how_many, plus
from aios_lab.allocation.types import Vector

# Units by node, by the number of the node.
Spots = list[tuple[int, int]]


class Profile:
    """Free room by node, constant between the times at which it changes. Times in seconds, from now on."""

    def __init__(self, now: float, free: list[Vector], ends: Iterable[tuple[float, int, Vector]]) -> None:
        """``ends``: when, on which node and how much becomes free. What is overdue ends a moment from now."""
        soon = math.nextafter(now, math.inf)
        self._times = [now]
        self._free = [free]
        for end, node, amount in sorted(ends):
            if end == math.inf:
                break
            if (when := max(end, soon)) > self._times[-1]:
                self._times.append(when)
                self._free.append([*self._free[-1]])
            self._free[-1][node] = plus(self._free[-1][node], amount)

    @property
    def start(self) -> float:
        return self._times[0]

    def earliest(self, unit: Vector, units: int, duration: float) -> tuple[float, Spots] | None:
        """When so many units have room for so long, and where; None when they never have."""
        for begin, start in enumerate(self._times):
            if spots := self._spots(begin, unit, units, duration):
                return start, spots
        return None

    def now(self, unit: Vector, units: int, duration: float) -> Spots:
        """Where so many units have room from now on for so long; empty when they have not."""
        return self._spots(0, unit, units, duration)

    def take(self, start: float, duration: float, unit: Vector, spots: Spots) -> None:
        """Promise the room from ``start`` on for ``duration`` seconds."""
        first = self._cut(start)
        last = self._cut(start + duration) if start + duration < math.inf else len(self._times)
        for free in self._free[first:last]:
            for node, units in spots:
                free[node] = plus(free[node], unit, -units)

    def _spots(self, begin: int, unit: Vector, units: int, duration: float) -> Spots:
        """First fit by node, in room that lasts from the beginning of a span to the end of the duration."""
        end = bisect_left(self._times, self._times[begin] + duration)
        spots: Spots = []
        for node, free in enumerate(self._free[begin]):
            fitting = min(units, how_many(unit, free))
            for later in self._free[begin + 1 : end]:
                if not fitting:
                    break
                fitting = min(fitting, how_many(unit, later[node]))
            if fitting:
                spots.append((node, fitting))
                units -= fitting
                if not units:
                    return spots
        return []

    def _cut(self, time: float) -> int:
        """The number of the span that begins at this time, made where there is none."""
        place = bisect_right(self._times, time) - 1
        if self._times[place] == time:
            return place
        insort(self._times, time)
        self._free.insert(place + 1, [*self._free[place]])
        return place + 1
