"""Free room over time: what running claims give back, and what is promised to those who wait."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Sequence

from aios_lab.allocation.room import Rooms, how_many, plus
from aios_lab.allocation.types import Vector

# Units by node, by the number of the node.
Spots = list[tuple[int, int]]
# When, on which node and how much becomes free.
End = tuple[float, int, Vector]


def room_now(rooms: Rooms, unit: Vector, units: int) -> Spots:
    """Where so many units have room now, in the order of placement; fewer where there is not room for all."""
    spots: Spots = []
    for node in rooms.order(unit):
        spots.append((node, min(units, how_many(unit, rooms.free[node]))))
        units -= spots[-1][1]
        if not units:
            break
    return spots


def units_of(spots: Spots) -> int:
    return sum(units for _, units in spots)


class Shadow:
    """The promise to the one claim at the head of a queue: when it starts by the estimates of those who run,
    and the room that is left beside it from then on.

    With a single promise room only grows from now until then, and from then on, so that two vectors a node
    say all: what is free now, and what is free then. O(ends + nodes with room) to make.
    """

    def __init__(self, rooms: Rooms, ends: Sequence[End], now: float, unit: Vector, units: int) -> None:
        """``ends`` are sorted; what is overdue ends a moment from now. ``rooms`` may be taken from later, and
        ``took`` is to hear of it."""
        self._rooms = rooms
        self._soon = math.nextafter(now, math.inf)
        # Free room by node once the head has started; nodes that are left out have then what they have now.
        self._then: dict[int, Vector] = {}
        self.start = self._find(ends, unit, units)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shadow) and (self.start, self._then) == (other.start, other._then)

    def _find(self, ends: Sequence[End], unit: Vector, units: int) -> float:
        """When the head starts, for ever when it never does; its room is taken out of what is free then."""
        then, free = self._then, self._rooms.free
        fitting = dict(room_now(self._rooms, unit, units))
        missing, start = units - sum(fitting.values()), -math.inf
        for end, node, amount in ends:
            when = max(end, self._soon)
            if missing <= 0 and when > start:
                break
            start = when
            then[node] = room = plus(then.get(node) or free[node], amount)
            count = how_many(unit, room)
            missing -= count - fitting.get(node, 0)
            fitting[node] = count
        if missing > 0:
            then.clear()
            return math.inf
        for node in sorted(fitting):
            taken = min(units, fitting[node])
            if taken:
                then[node] = plus(then.get(node) or free[node], unit, -taken)
                units -= taken
        return start

    def lasts(self, end: float) -> bool:
        """Whether a claim with this end would still be there when the head starts."""
        return end > self.start

    def room_now(self, unit: Vector, units: int, end: float) -> Spots:
        """Where so many units have room from now until ``end``; fewer where there is not room for all."""
        if not self.lasts(end):
            return room_now(self._rooms, unit, units)
        free, then = self._rooms.free, self._then
        spots: Spots = []
        for node in self._rooms.order(unit):
            fitting = min(units, how_many(unit, free[node]))
            if node in then:
                fitting = min(fitting, how_many(unit, then[node]))
            if fitting:
                spots.append((node, fitting))
                units -= fitting
            if not units:
                break
        return spots

    def took(self, unit: Vector, spots: Spots, end: float) -> None:
        """Somebody started in this room, which is no longer free, and keeps it until ``end``."""
        then = self._then
        for node, units in spots:
            if not self.lasts(end):
                then.setdefault(node, plus(self._rooms.free[node], unit, units))
            elif node in then:
                then[node] = plus(then[node], unit, -units)


class Profile:
    """Free room by node, constant between the times at which it changes, for any number of promises. Times in
    seconds, from now on."""

    def __init__(self, now: float, free: list[Vector], ends: Iterable[End]) -> None:
        """``ends`` are sorted; what is overdue ends a moment from now."""
        soon = math.nextafter(now, math.inf)
        self._times = [now]
        self._free = [free]
        for end, node, amount in ends:
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
            if spots := self._spots(begin, range(len(self._free[begin])), unit, units, duration):
                return start, spots
        return None

    def now(self, nodes: Iterable[int], unit: Vector, units: int, duration: float) -> Spots:
        """Where so many units have room from now on for so long, the first of these nodes; empty when they
        have not."""
        return self._spots(0, nodes, unit, units, duration)

    def take(self, start: float, duration: float, unit: Vector, spots: Spots) -> None:
        """Promise the room from ``start`` on for ``duration`` seconds, and for a moment at least."""
        end = max(start + duration, math.nextafter(start, math.inf))
        first = self._cut(start)
        last = self._cut(end) if end < math.inf else len(self._times)
        for free in self._free[first:last]:
            for node, units in spots:
                free[node] = plus(free[node], unit, -units)

    def _spots(self, begin: int, nodes: Iterable[int], unit: Vector, units: int, duration: float) -> Spots:
        """First fit by node, in room that lasts from the beginning of a span to the end of the duration."""
        end = bisect_left(self._times, self._times[begin] + duration)
        spots: Spots = []
        for node in nodes:
            fitting = min(units, how_many(unit, self._free[begin][node]))
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
