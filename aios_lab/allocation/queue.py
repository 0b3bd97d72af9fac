"""Queue policies: claims start in an order, keep what they have, and may be let past a head that waits.

An order alone holds up everyone behind the first claim that has no room. With a backfill, a later claim
starts where it delays nobody it must not: EASY protects the first claim that waits (Lifka, JSSPP 1995),
conservative backfill every one of them (Mu'alem and Feitelson, TPDS 2001). Both plan with the durations that
claims state; a claim without one is taken to last for ever, and one that outlasts its own may end any moment.

Room beyond the minimums goes to started claims in the same order, and only when nobody waits for room.
Quotas and weights count for nothing here; limits do, and a claim at its limit holds up nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from aios_lab.allocation.board import surplus
from aios_lab.allocation.profile import Profile, Spots
from aios_lab.allocation.room import Rooms, how_many
from aios_lab.allocation.shares import Tree, held_units, total_capacity, weighted_share
from aios_lab.allocation.targets import starting_units
from aios_lab.allocation.types import Change, Demand, Plan, Snapshot
from aios_lab.allocation.words import listed, who

Backfill = Literal["none", "easy", "conservative"]
BACKFILLS: tuple[Backfill, ...] = ("none", "easy", "conservative")
AGEING = 1 / 3600  # priority that a second of waiting is worth
NAMED = 3  # claims ahead that a reason names before it only counts them


@dataclass(frozen=True, slots=True)
class Order:
    """How a queue is sorted: smallest key first, equal ones by who asked first; ``name`` is for people."""

    name: str
    key: Callable[[Demand, Snapshot], float]


def _duration(demand: Demand, _: Snapshot) -> float:
    return math.inf if demand.duration is None else demand.duration


def _area(demand: Demand, snapshot: Snapshot) -> float:
    part = weighted_share(demand.unit * _needed(demand, 0), total_capacity(snapshot), 1)
    return _duration(demand, snapshot) * part if part else 0.0  # for ever times nothing is no number


def _aged(demand: Demand, snapshot: Snapshot) -> float:
    return -(demand.priority + AGEING * max(0.0, snapshot.now - demand.submitted))


# fcfs is fair in time and easy to explain. sjf has the lowest mean wait and saf the lowest mean slowdown
# (Carastan-Santos et al., CCGrid 2019), but long claims, or long and large ones, may starve. Under priority
# nobody does: an hour of waiting is worth one step of it.
ORDERS: Mapping[str, Order] = {
    "fcfs": Order("first come, first served", lambda demand, _: demand.submitted),
    "sjf": Order("shortest first", _duration),
    "saf": Order("smallest area first", _area),
    "priority": Order("highest priority first, which grows with waiting", _aged),
}


def queue_policy(order: Order, backfill: Backfill) -> Callable[[Snapshot], tuple[Plan, Mapping[str, int]]]:
    """The policy of this order and backfill. Its plans have reasons for those whom the queue makes wait."""
    return lambda snapshot: _Queue(snapshot, order, backfill).decide()


class _Queue:
    def __init__(self, snapshot: Snapshot, order: Order, backfill: Backfill) -> None:
        self._order = order
        self._backfill = backfill
        self._rooms = Rooms(snapshot.nodes)
        self._empty = [*self._rooms.free]
        self._held = {claim: dict(nodes) for claim, nodes in held_units(snapshot).items()}
        self._tree = Tree(snapshot.principals, total_capacity(snapshot))
        self._demands = sorted(snapshot.demands, key=lambda d: (order.key(d, snapshot), d.submitted, d.claim))
        self._profile = self._running(snapshot)
        self._given: dict[str, int] = {}
        self._grants: list[Change] = []

    def _running(self, snapshot: Snapshot) -> Profile:
        """What is free now, and when running claims are expected to end."""
        ends = []
        for demand in self._demands:
            unit = demand.unit.vector
            start = snapshot.now if demand.started is None else demand.started
            for name, units in self._held.get(demand.claim, {}).items():
                node = self._rooms.index[name]
                self._rooms.take(node, unit, units)
                self._tree.use_units(demand.principal, unit, units)
                cpu, memory, gpu, gpu_memory = unit
                amount = cpu * units, memory * units, gpu * units, gpu_memory * units
                ends.append((start + _duration(demand, snapshot), node, amount))
        return Profile(snapshot.now, [*self._rooms.free], ends)

    def decide(self) -> tuple[Plan, Mapping[str, int]]:
        shrinks = tuple(
            Change(demand.claim, name, units)
            for demand in sorted(self._demands, key=lambda d: d.claim)
            for name, units in surplus(demand, self._held.get(demand.claim, {}))
        )
        waiting = self._start()
        if not waiting:
            self._grow()
        grants = tuple(sorted(self._grants, key=lambda change: (change.claim, change.node)))
        plan = Plan(_merged(grants), shrinks, reasons=self._reasons(waiting))
        return plan, {demand.claim: self._has(demand) for demand in self._demands}

    def _start(self) -> list[Demand]:
        """Start whoever may, in order; those who wait for room, in order."""
        waiting: list[Demand] = []
        for demand in self._demands:
            units = _needed(demand, self._has(demand))
            if units <= 0 or not self._possible(demand, units):
                continue
            spots: Spots = []
            if not waiting or self._backfill != "none":
                spots = self._profile.now(demand.unit.vector, units, self._length(demand))
            if spots:
                self._give(demand, spots)
                continue
            if not waiting or self._backfill == "conservative":
                self._promise(demand, units)
            waiting.append(demand)
        return waiting

    def _grow(self) -> None:
        for demand in self._demands:
            while self._has(demand) and self._has(demand) < demand.max and self._possible(demand, 1):
                spots = self._profile.now(demand.unit.vector, 1, self._length(demand))
                if not spots:
                    break
                self._give(demand, spots)

    def _possible(self, demand: Demand, units: int) -> bool:
        """Whether limits and an empty cluster would have room for it: what never can start delays nobody."""
        if self._tree.over_limit(demand.principal, demand.unit * units) is not None:
            return False
        unit = demand.unit.vector
        return sum(how_many(unit, room) for room in self._empty) >= self._has(demand) + units

    def _promise(self, demand: Demand, units: int) -> None:
        unit, length = demand.unit.vector, self._length(demand)
        if (found := self._profile.earliest(unit, units, length)) is not None:
            start, spots = found
            self._profile.take(start, length, unit, spots)

    def _give(self, demand: Demand, spots: Spots) -> None:
        unit = demand.unit.vector
        self._profile.take(self._profile.start, self._length(demand), unit, spots)
        for node, units in spots:
            self._tree.use_units(demand.principal, unit, units)
            self._given[demand.claim] = self._given.get(demand.claim, 0) + units
            self._grants.append(Change(demand.claim, self._rooms.names[node], units))

    def _has(self, demand: Demand) -> int:
        return sum(self._held.get(demand.claim, {}).values()) + self._given.get(demand.claim, 0)

    def _length(self, demand: Demand) -> float:
        return math.inf if demand.duration is None else demand.duration

    def _reasons(self, waiting: list[Demand]) -> dict[str, str]:
        reasons = {}
        for place, demand in enumerate(waiting):
            ahead = [who(other) for other in waiting[max(0, place - NAMED) : place]]
            after = f", after {listed(ahead, place)}" if ahead else ""
            reasons[demand.claim] = f"it is number {place + 1} in the queue ({self._order.name}){after}"
        for demand in self._demands:
            if 0 < self._has(demand) < demand.max:
                reasons.setdefault(demand.claim, "what is free goes to those first who wait to start")
        return reasons


def _needed(demand: Demand, has: int) -> int:
    """Units without which it does not start."""
    return min(max(1, starting_units(demand)), demand.max) - has


def _merged(grants: tuple[Change, ...]) -> tuple[Change, ...]:
    units: dict[tuple[str, str], int] = {}
    for change in grants:
        units[change.claim, change.node] = units.get((change.claim, change.node), 0) + change.units
    return tuple(Change(claim, node, count) for (claim, node), count in units.items())
