"""Claims in a line: whom a queue policy starts next, kept from one decision to the next.

A decision looks only at those who wait, and after an event that can help none of those who were refused
before, only at those who came since. One made of a single snapshot and one of a long simulation go the same
way.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from aios_lab.allocation.board import surplus
from aios_lab.allocation.placement.rooms import FIRST, rooms_for
from aios_lab.allocation.profile import End, Profile, Shadow, Spots, room_now, units_of
from aios_lab.allocation.room import NOTHING, how_many, plus
from aios_lab.allocation.shares import Tree
from aios_lab.allocation.targets import starting_units
from aios_lab.allocation.types import (
    UNLIMITED,
    Change,
    Demand,
    Node,
    Placement,
    Plan,
    Principal,
    Resources,
    Vector,
)

Backfill = Literal["none", "easy", "conservative"]


@dataclass(slots=True, eq=False)
class Member:
    """A claim, what it holds by node and in all, and how many units more it would start with."""

    demand: Demand
    unit: Vector
    length: float
    held: dict[int, int] = field(default_factory=dict)
    has: int = 0
    needs: int = 0


# Units by claim and number of the node.
Grants = dict[tuple[str, int], int]
# Smallest first: the order's key, when it was submitted, its name; the member is never compared.
Entry = tuple[float, float, str, Member]


class Places:
    """Members in their order."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, entry: Entry) -> None:
        insort(self.entries, entry)

    def drop(self, entry: Entry) -> None:
        """Take it out, if it is there."""
        place = bisect_left(self.entries, entry)
        if place < len(self.entries) and self.entries[place][2] == entry[2]:
            del self.entries[place]


class Line:
    """Who waits in order, who holds what, and what is free. A plan counts as carried out once it is made."""

    def __init__(
        self,
        nodes: Sequence[Node],
        principals: Iterable[Principal],
        backfill: Backfill,
        placement: Placement = FIRST,
    ) -> None:
        self.capacity = sum((node.capacity for node in nodes), Resources())
        self._backfill = backfill
        self._rooms = rooms_for(nodes, placement)
        self._empty = [*self._rooms.free]
        self._most: dict[Vector, int] = {}
        principals = tuple(principals)
        self._limited = any(principal.limit is not None for principal in principals)
        self._tree = Tree(principals, self.capacity)
        self._entries: dict[str, Entry] = {}
        self._waiting, self._growing = Places(), Places()
        self._over: set[str] = set()
        self._ends: list[End] = []
        self._undated: set[str] = set()  # who holds units and does not say since when
        self._stirred = True
        self._came: list[Entry] = []
        self._head: tuple[str, Shadow | None] | None = None

    # --- what happens between decisions --------------------------------------------------------------------

    def add(self, demand: Demand, key: float) -> None:
        """A claim that is not there yet, and that holds nothing."""
        unit = demand.unit.vector
        member = Member(demand, unit, math.inf if demand.duration is None else demand.duration)
        entry = self._entries[demand.claim] = (key, demand.submitted, demand.claim, member)
        self._file(entry)
        self._came.append(entry)

    def remove(self, claim: str) -> None:
        """A claim is gone, and what it held is free."""
        entry = self._entries[claim]
        member = entry[3]
        for node, units in [*member.held.items()]:
            self.hold(claim, node, -units)
        self._waiting.drop(entry)
        del self._entries[claim]
        self._stirred = True

    def hold(self, claim: str, node: int, units: int) -> None:
        """A claim holds so many units more, or less, on the node of this number."""
        self._change(self._entries[claim], node, units)
        self._stirred = True

    def node(self, name: str) -> int:
        return self._rooms.index[name]

    def _change(self, entry: Entry, node: int, units: int) -> None:
        member, rooms = entry[3], self._rooms
        before = member.held.get(node, 0)
        self._end(member, node, before, add=False)
        if units > 0:
            rooms.take(node, member.unit, units)
        else:
            rooms.put(node, plus(rooms.free[node], member.unit, -units))
        if self._limited:
            self._tree.use_units(member.demand.principal, member.unit, units)
        member.has += units
        member.held[node] = before + units
        if not member.held[node]:
            del member.held[node]
        self._end(member, node, before + units, add=True)
        self._file(entry)

    def _end(self, member: Member, node: int, units: int, add: bool) -> None:
        """Note, or forget, when the units of a member on a node are expected to become free."""
        demand = member.demand
        if demand.started is None:
            (self._undated.add if add and member.held else self._undated.discard)(demand.claim)
        elif units and member.length < math.inf:
            end = demand.started + member.length, node, times(member.unit, units)
            if add:
                insort(self._ends, end)
            else:
                del self._ends[bisect_left(self._ends, end)]

    def _file(self, entry: Entry) -> None:
        member, claim = entry[3], entry[2]
        demand, waited = member.demand, member.needs > 0
        member.needs = min(max(1, starting_units(demand)), demand.max) - member.has
        if waited != (member.needs > 0):
            (self._waiting.drop if waited else self._waiting.add)(entry)
        self._growing.drop(entry)
        if 0 < member.has < demand.max:
            self._growing.add(entry)
        (self._over.add if member.has > demand.max else self._over.discard)(claim)

    # --- deciding ------------------------------------------------------------------------------------------

    def decide(self, now: float) -> Plan:
        """Whom to start or to grow at this time, and what to take back above maximums; without reasons."""
        shrinks = [
            Change(claim, name, units)
            for claim in sorted(self._over)
            for name, units in surplus(self._entries[claim][3].demand, self._by_name(claim))
        ]
        grants: dict[tuple[str, int], int] = {}
        self._start(now, grants)
        if next(self.waiting(), None) is None:
            self._grow(now, grants)
        for change in shrinks:
            self.hold(change.claim, self.node(change.node), -change.units)
        names = self._rooms.names
        granted = (Change(claim, names[node], units) for (claim, node), units in sorted(grants.items()))
        return Plan(tuple(granted), tuple(shrinks))

    def waiting(self) -> Iterator[Demand]:
        """Those who wait for room, in order: all who have not started, and whom limits and an empty cluster
        would let start."""
        return (member.demand for *_, member in self._waiting.entries if self._possible(member, member.needs))

    def units(self, claim: str) -> int:
        return self._entries[claim][3].has

    def _by_name(self, claim: str) -> dict[str, int]:
        names = self._rooms.names
        return {names[node]: units for node, units in self._entries[claim][3].held.items()}

    def _start(self, now: float, grants: Grants) -> None:
        """Start whoever may, in order, up to the first who has no room; then whom the backfill lets past."""
        came, self._came = sorted(self._came), []
        entries = [*self._waiting.entries]
        for place, entry in enumerate(entries):
            member = entry[3]
            if not self._possible(member, member.needs):
                continue
            spots = room_now(self._rooms, member.unit, member.needs)
            if units_of(spots) == member.needs:
                self._give(entry, spots, now, grants)
            elif self._backfill == "easy":
                return self._easy(entries[place:], came, now, grants)
            elif self._backfill == "conservative":
                return self._conservative(entries[place:], now, grants)
            else:
                return None
        return None

    def _easy(self, entries: list[Entry], came: list[Entry], now: float, grants: Grants) -> None:
        """Let past whoever does not delay the first of these.

        Where nothing but arrivals happened and the promise is the same, whoever was refused is refused again:
        there is no more room than there was, and he would stay no shorter.
        """
        head = entries[0][3]
        shadow = Shadow(self._rooms, self._expected(now), now, head.unit, head.needs)
        behind = entries[1:]
        if not self._stirred and self._head == (entries[0][2], shadow):
            behind = [entry for entry in came if entry > entries[0]]
        # Room only gets less: as many units as were refused once, or more, are refused to the same shape.
        short: dict[Vector, int] = {}
        long: dict[Vector, int] = {}
        for entry in behind:
            member = entry[3]
            end = now + member.length
            refused = long if shadow.lasts(end) else short
            if member.needs >= refused.get(member.unit, UNLIMITED):
                continue
            if not self._possible(member, member.needs):
                continue
            spots = shadow.room_now(member.unit, member.needs, end)
            if units_of(spots) < member.needs:
                refused[member.unit] = member.needs
                continue
            self._give(entry, spots, now, grants)
            shadow.took(member.unit, spots, end)
        self._head, self._stirred = (entries[0][2], shadow), False

    def _conservative(self, entries: list[Entry], now: float, grants: Grants) -> None:
        """Let past whoever delays none of those before him."""
        profile = Profile(now, [*self._rooms.free], self._expected(now))
        for entry in entries:
            member = entry[3]
            unit, units, length = member.unit, member.needs, member.length
            if not self._possible(member, units):
                continue
            if spots := profile.now(self._rooms.order(unit), unit, units, length):
                self._give(entry, spots, now, grants)
                profile.take(now, length, unit, spots)
            elif (found := profile.earliest(unit, units, length)) is not None:
                profile.take(found[0], length, unit, found[1])

    def _grow(self, now: float, grants: Grants) -> None:
        for entry in [*self._growing.entries]:
            member = entry[3]
            while member.has < member.demand.max and self._possible(member, 1):
                spots = room_now(self._rooms, member.unit, 1)
                if not spots:
                    break
                self._give(entry, spots, now, grants)

    def _possible(self, member: Member, units: int) -> bool:
        """Whether limits and an empty cluster would have room for it: what never can start delays nobody."""
        demand = member.demand
        if self._limited and self._tree.over_limit(demand.principal, demand.unit * units) is not None:
            return False
        most = self._most.get(member.unit)
        if most is None:
            most = self._most[member.unit] = sum(how_many(member.unit, room) for room in self._empty)
        return most >= member.has + units

    def _expected(self, now: float) -> list[End]:
        """When what is held is expected to become free, soonest first."""
        undated = [self._entries[claim][3] for claim in self._undated]
        ends = [
            (now + member.length, node, times(member.unit, units))
            for member in undated
            if member.length < math.inf
            for node, units in member.held.items()
        ]
        return sorted([*self._ends, *ends]) if ends else self._ends

    def _give(self, entry: Entry, spots: Spots, now: float, grants: Grants) -> None:
        member = entry[3]
        if not member.has:
            member.demand = replace(member.demand, started=now)
        for node, units in spots:
            grants[entry[2], node] = grants.get((entry[2], node), 0) + units
            self._change(entry, node, units)


def times(unit: Vector, units: int) -> Vector:
    return plus(NOTHING, unit, units)
