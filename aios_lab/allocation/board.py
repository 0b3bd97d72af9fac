"""The room there is now, the room that shrinking makes later, and whom to shrink for it.

Two things can be short: a node's capacity and a principal's limit. Both are *places* with room, and a held
unit takes room in its node and in every limited principal above it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from aios_lab.allocation.preemption import Cost, cost, victim_order
from aios_lab.allocation.room import Rooms, fits, plus, smaller
from aios_lab.allocation.shares import Tree, held_units, total_capacity, weighted_share
from aios_lab.allocation.targets import kept_units, starting_units
from aios_lab.allocation.types import RESOURCES, Change, Demand, Resources, Snapshot, Vector

SEARCHED = 32  # nodes that are tried for the one where the fewest units have to go

# A place is the number of a node, or the path of a limited principal.
Place = int | str


def short_of(need: Resources, have: Resources) -> tuple[str, ...]:
    """The resources of which not enough is there; what is not needed may well be overdrawn."""
    return tuple(RESOURCES[which] for which in _missing(need.vector, have.vector))


def _missing(need: Vector, have: Vector) -> tuple[int, ...]:
    return tuple(which for which in range(4) if need[which] > max(0, have[which]))


class Step(NamedTuple):
    """What one victim gave: a unit of what it can spare, or its whole lease; by claim, node and units."""

    whole: bool
    taken: list[tuple[str, int, int]]


@dataclass
class Limit:
    """What a limit leaves now, and once all shrinks are done."""

    now: Vector
    room: Vector


class Board:
    """Mutable state of one decision: ``mark`` it, try something, and go ``back`` to the mark if it fails."""

    def __init__(self, snapshot: Snapshot, targets: Mapping[str, int]) -> None:
        self.targets = targets
        self.capacity = total_capacity(snapshot)
        self.demands = {demand.claim: demand for demand in sorted(snapshot.demands, key=lambda d: d.claim)}
        self.vectors = {claim: demand.unit.vector for claim, demand in self.demands.items()}
        self.now, self.room, self.most = (Rooms(snapshot.nodes) for _ in range(3))
        self.limits: dict[str, Limit] = {}
        self.limited = self._limited(snapshot)
        self.units: dict[str, dict[int, int]] = {}
        self.lost: dict[tuple[str, int], int] = {}
        self._held: dict[str, int] = {}
        self._hold(snapshot)
        # Only these can ever be shrunk for others: nobody's units grow while a plan is made.
        self._over = sorted(claim for claim, held in self._held.items() if held > targets[claim])
        self._over_on: dict[int, list[str]] = {}
        for claim in self._over:
            for node, units in self.units[claim].items():
                self._over_on.setdefault(node, []).append(claim)
                gives = min(units, self._held[claim] - targets[claim])
                self.most.put(node, plus(self.most.free[node], self.vectors[claim], gives))
        self._cheapest = self._least_cost()
        self._journal: list[Callable[[], None]] = []

    def _least_cost(self) -> Cost:
        """No unit can be had for less: there is no need to look further."""
        partly = any(self._elastic(claim) for claim in self._over)
        idle = any(self.demands[claim].idle for claim in self._over)
        return Cost(0 if partly else 1, 0 if idle else 1, 1)

    def _limited(self, snapshot: Snapshot) -> dict[str, tuple[str, ...]]:
        """The limited principals above each claim."""
        tree = Tree(snapshot.principals, self.capacity)
        found: dict[str, tuple[str, ...]] = {}
        for principal in {demand.principal for demand in self.demands.values()}:
            names = [name for name in tree.path(principal) if tree.principals[name].limit is not None]
            for name in names:
                limit = tree.principals[name].limit or Resources()
                self.limits.setdefault(name, Limit(limit.vector, limit.vector))
            found[principal] = tuple(names)
        return {claim: found[demand.principal] for claim, demand in self.demands.items()}

    def _hold(self, snapshot: Snapshot) -> None:
        for claim, nodes in held_units(snapshot).items():
            self.units[claim] = {self.now.index[name]: units for name, units in nodes.items()}
            self._held[claim] = held = sum(nodes.values())
            unit = self.vectors[claim]
            for node, units in self.units[claim].items():
                self.now.take(node, unit, units)
                self.room.take(node, unit, units)
                self.most.take(node, unit, units)
            for name in self.limited[claim]:
                limit = self.limits[name]
                limit.now = limit.room = plus(limit.now, unit, -held)

    # --- trying and taking back ----------------------------------------------------------------------------

    def mark(self) -> int:
        return len(self._journal)

    def back(self, mark: int) -> None:
        """Undo all that was done since the mark."""
        while len(self._journal) > mark:
            self._journal.pop()()

    def _remember(self, node: int) -> None:
        now, room, most = self.now.free[node], self.room.free[node], self.most.free[node]

        def undo() -> None:
            self.now.put(node, now)
            self.room.put(node, room)
            self.most.put(node, most)

        self._journal.append(undo)

    def _set_limit(self, limit: Limit, now: Vector, room: Vector) -> None:
        before = limit.now, limit.room
        limit.now, limit.room = now, room

        def undo() -> None:
            limit.now, limit.room = before

        self._journal.append(undo)

    # --- what there is -------------------------------------------------------------------------------------

    def held(self, claim: str) -> int:
        return self._held.get(claim, 0)

    def limits_leave(self, claim: str, later: bool = False) -> bool:
        """Whether the limits above the claim leave room for a unit more, now or after all shrinks."""
        unit, limits = self.vectors[claim], self.limits
        return all(
            fits(unit, limits[name].room if later else limits[name].now) for name in self.limited[claim]
        )

    def _short(self, claim: str, node: int) -> Place | None:
        """A place that lacks room for one more unit even when all shrinks so far are done."""
        unit = self.vectors[claim]
        if not fits(unit, self.room.free[node]):
            return node
        return next((name for name in self.limited[claim] if not fits(unit, self.limits[name].room)), None)

    def places(self) -> list[Place]:
        """Limits, then nodes, each by name."""
        return [*sorted(self.limits), *range(len(self.room.free))]

    def overdrawn(self, place: Place) -> tuple[int, ...]:
        """The resources of which more is taken than there is, once all shrinks so far are done."""
        room = self._room(place)
        return tuple(which for which in range(4) if room[which] < 0)

    def _room(self, place: Place) -> Vector:
        return self.room.free[place] if isinstance(place, int) else self.limits[place].room

    # --- taking and giving ---------------------------------------------------------------------------------

    def reserve(self, claim: str, node: int, ready: bool) -> None:
        """Take room for a unit: what is free when it can start now, else first what shrinking frees."""
        unit = self.vectors[claim]
        self._remember(node)
        self.room.take(node, unit)
        self.most.take(node, unit)
        if ready:
            self.now.take(node, unit)
        else:
            self.now.cut(node, self.room.free[node])
        for name in self.limited[claim]:
            limit = self.limits[name]
            room = plus(limit.room, unit, -1)
            self._set_limit(limit, plus(limit.now, unit, -1) if ready else smaller(limit.now, room), room)

    def take_away(self, claim: str, node: int, units: int) -> None:
        unit = self.vectors[claim]
        self._shift(claim, node, units)
        self._journal.append(lambda: self._shift(claim, node, -units))
        self._remember(node)
        self.room.put(node, plus(self.room.free[node], unit, units))
        for name in self.limited[claim]:
            limit = self.limits[name]
            self._set_limit(limit, limit.now, plus(limit.room, unit, units))

    def _shift(self, claim: str, node: int, units: int) -> None:
        self.units[claim][node] -= units
        self._held[claim] -= units
        self.lost[claim, node] = self.lost.get((claim, node), 0) + units

    def changes(self) -> tuple[Change, ...]:
        names = self.now.names
        return tuple(
            Change(claim, names[node], units) for (claim, node), units in sorted(self.lost.items()) if units
        )

    # --- whom to shrink ------------------------------------------------------------------------------------

    def room_by_shrinking(self, claim: str) -> int | None:
        """Shrink others until a unit fits, on the node where that costs least; that node, or none.

        Of the first few by name that can do it; at least one unit goes: the caller found no room without.
        """
        best: tuple[Cost, int] | None = None
        for node in self._candidates(claim):
            mark = self.mark()
            price = self._make_room(claim, node)
            self.back(mark)
            if price is not None and (best is None or price < best[0]):
                best = price, node
                if price <= self._cheapest:
                    break
        if best is None:
            return None
        self._make_room(claim, best[1])
        return best[1]

    def _candidates(self, claim: str) -> Iterator[int]:
        """Nodes where a unit may have room once what is over target is gone, the first few by name."""
        node = self.most.first(self.vectors[claim]) if self._over else None
        looked = 0
        while node is not None and looked < SEARCHED:
            looked += 1
            yield node
            node = self.most.first(self.vectors[claim], node + 1)

    def _make_room(self, claim: str, node: int) -> Cost | None:
        """Shrink others until a unit fits on the node; what that costs, or none if it cannot be."""
        unit = self.vectors[claim]
        steps: list[Step] = []
        while (place := self._short(claim, node)) is not None:
            step = self.shrink_for(place, _missing(unit, self._room(place)), node, spare=claim)
            if step is None:
                return None
            steps.append(step)
        # Those that later ones made needless are undone, whole leases before single units.
        steps.sort(key=lambda step: not step.whole)
        needed = [step for step in steps if not self._put_back(claim, node, step)]
        return cost(self.demands, self._held, [(victim, n) for step in needed for victim, _, n in step.taken])

    def _put_back(self, claim: str, node: int, step: Step) -> bool:
        """Undo a step, unless it is needed or its victim would be left with less than a minimum."""
        if not step.whole and not self._held[step.taken[0][0]]:
            return False
        mark = self.mark()
        for victim, place, units in step.taken:
            self.take_away(victim, place, -units)
        needless = self._short(claim, node) is None
        if not needless:
            self.back(mark)
        return needless

    def shrink_for(
        self, place: Place, missing: tuple[int, ...], node: int | None = None, spare: str = ""
    ) -> Step | None:
        """Take one unit, or a whole claim where none can go alone, from the first in ``victim_order``."""
        near = self._over_on.get(place, []) if isinstance(place, int) else self._over
        helpful = [c for c in near if c != spare and self._gives(c, place, missing)]
        for pick in (self._elastic, self._releasable):
            victims = [claim for claim in helpful if pick(claim)]
            if victims:
                step = self._going(
                    min(victims, key=self._victim_order), place, node, pick == self._releasable
                )
                for claim, from_node, units in step.taken:
                    self.take_away(claim, from_node, units)
                return step
        return None

    def _elastic(self, claim: str) -> int:
        """Units above target that may go one by one: the minimum stays."""
        return max(0, self._held[claim] - max(self.targets[claim], starting_units(self.demands[claim])))

    def _releasable(self, claim: str) -> bool:
        """Whether the whole claim may go: its target is nothing and nothing of it must be kept."""
        held = self._held[claim]
        return held > 0 and self.targets[claim] == 0 and not kept_units(self.demands[claim], held)

    def _gives(self, claim: str, place: Place, missing: tuple[int, ...]) -> bool:
        """Whether shrinking helps: the claim has units at the place, and they hold what is missing."""
        unit = self.vectors[claim]
        if not any(unit[which] for which in missing):
            return False
        if isinstance(place, int):
            return bool(self.units[claim].get(place))
        return place in self.limited[claim] and self._held[claim] > 0

    def _going(self, victim: str, place: Place, node: int | None, whole: bool) -> Step:
        held = {at: units for at, units in self.units[victim].items() if units}
        if whole:
            return Step(True, [(victim, at, units) for at, units in held.items()])
        if isinstance(place, int):
            return Step(False, [(victim, place, 1)])
        return Step(False, [(victim, node if node is not None and node in held else [*held][-1], 1)])

    def _victim_order(self, claim: str) -> tuple[bool, float, float, str]:
        demand = self.demands[claim]
        over = demand.unit * (self._held[claim] - self.targets[claim])
        return victim_order(demand, weighted_share(over, self.capacity, 1))


def surplus(demand: Demand, nodes: Mapping[str, int]) -> Iterator[tuple[str, int]]:
    """What a claim holds above its own maximum, because its owner asked for less; last nodes first."""
    held = sum(nodes.values())
    over = held - max(demand.max, min(demand.floor, held))
    for node in sorted(nodes, reverse=True):
        if (units := min(over, nodes[node])) > 0:
            over -= units
            yield node, units


def give_back(board: Board) -> None:
    """Take at once what claims hold above their own maximum."""
    names = board.now.names
    for claim in sorted(board.units):
        nodes = {names[node]: units for node, units in board.units[claim].items()}
        for name, units in surplus(board.demands[claim], nodes):
            board.take_away(claim, board.now.index[name], units)
